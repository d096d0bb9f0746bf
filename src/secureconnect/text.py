"""Text that people provide and that others read: which characters it may contain. Pure.

A name (display name, title, label, file name, device name, claim of a token) stands inside sentences, notifications and terminals,
so it contains no control, bidirectional or invisible characters. A message stands in a block of its own and keeps its lines.
`store.unicode` says what a database can store; nothing here knows a database.
"""

import unicodedata
from functools import lru_cache

from secureconnect.errors import Unprocessable

NAME_CHARS = 80
NAME_BYTES = 256
"""UTF-8. Room for 80 Vietnamese or Chinese characters and for 64 emoji."""
TITLE_CHARS = 200
TITLE_BYTES = 640
UNNAMED = "Unnamed"
"""Stands for a stored display name of which nothing visible is left."""
MAX_MARKS = 8
"""Combining marks on one character. Hebrew and Tibetan need four; a stack of dozens covers the lines around it."""

ZWNJ, ZWJ = "\u200c", "\u200d"
_BODY_CONTROLS = "\t\n\r"
_LINE_BREAKS = "\n\r\u2028\u2029"
_EMOJI_SELECTORS = "\ufe0e\ufe0f"
_OVERRIDES = "\u202d\u202e"
_EMBEDDINGS, _POP_EMBEDDING = "\u202a\u202b", "\u202c"
_ISOLATES, _POP_ISOLATE = "\u2066\u2067\u2068", "\u2069"
_BLANK = frozenset("\u2800\ufffc\U0001d159\U00013441\U00013442")
"""Letters and symbols by category that show nothing."""
_IGNORABLE = tuple(
    range(first, last + 1)
    for first, last in (
        *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
        *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
        *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
    )
)
"""Default_Ignorable_Code_Point of Unicode 16 (DerivedCoreProperties.txt)."""
_JOINING = ("ARABIC", "SYRIAC", "MANDAIC", "MONGOLIAN", "NKO", "PHAGS-PA", "ADLAM", "HANIFI", "SOGDIAN", "MANICHAEAN")
_FLAGS = tuple(
    f"\U0001f3f4{''.join(chr(0xE0000 + ord(letter)) for letter in region)}\U000e007f" for region in ("gbeng", "gbsct", "gbwls")
)
"""England, Scotland and Wales: the only tag sequences that Unicode recommends (UTS 51, annex C)."""


def require_name(field: str, text: str, *, chars: int = NAME_CHARS, bytes_: int = NAME_BYTES) -> str:
    """Return a name in NFC with single spaces.

    Args:
        field: The field that the error names.
        text: What the client sent.
        chars: The most characters.
        bytes_: The most bytes in UTF-8.

    Raises:
        Unprocessable: It is empty, too long, shows nothing, or contains a character that names may not contain.
    """
    name, refused = _sift(text)
    if refused is not None:
        raise Unprocessable(f"{field}: {_named(refused)} cannot be used here; leave it out.")
    if not is_visible(name):
        raise Unprocessable(f"{field}: write at least one visible character.")
    if len(name) > chars or len(name.encode()) > bytes_:
        raise Unprocessable(
            f"{field}: 1 to {chars} characters and at most {bytes_} bytes, not {len(name)} and {len(name.encode())}."
        )
    return name


@lru_cache(maxsize=4096)
def clean_name(text: str, *, chars: int = NAME_CHARS, bytes_: int = NAME_BYTES) -> str:
    """Return what of this text may stand in a name, cut to the limits; empty when nothing visible is left."""
    if text.isascii() and text.isprintable() and len(text) <= chars and "  " not in text and text == text.strip():
        return text
    name = _sift(text)[0]
    while len(name) > chars or len(name.encode()) > bytes_:
        name = _sift(name[: min(chars, len(name) - 1)])[0]
    return name if is_visible(name) else ""


def require_body(field: str, text: str, *, chars: int, bytes_: int) -> None:
    """Check the text of a message, which keeps its spaces and lines.

    Raises:
        Unprocessable: It is too long, shows nothing, or contains a control character, an override, or an embedding or isolate that
            its line does not close (UAX 9, section 3.3.2).
    """
    if not is_visible(text):
        raise Unprocessable(f"{field}: write something.")
    if len(text) > chars or len(text.encode(errors="surrogatepass")) > bytes_:
        raise Unprocessable(f"{field}: at most {chars} characters and {bytes_} bytes.")
    refused = next((character for character in text if _is_refused_in_body(character)), None)
    if refused is not None:
        raise Unprocessable(f"{field}: {_named(refused)} cannot be used here; leave it out.")
    if not _is_balanced(text):
        raise Unprocessable(f"{field}: a line opens a text direction (U+202A, U+202B, U+2066 to U+2068) that it does not close.")


def is_visible(text: str) -> bool:
    """Tell whether at least one character of the text shows something."""
    return any(
        (unicodedata.category(character)[0] in "LNPS" or _is_emoji(character)) and not _is_ignorable(character)
        for character in text
    )


def is_name(text: str) -> bool:
    """Tell whether the text can stand in a name as it is."""
    return _sift(text) == (text, None) and is_visible(text)


@lru_cache(maxsize=4096)
def _sift(text: str) -> tuple[str, str | None]:
    """The characters that a name may contain, and the first that it may not."""
    refused: str | None = None
    while True:
        text = unicodedata.normalize("NFC", text)
        kept, dropped = _keep(text)
        refused = refused or dropped
        kept = unicodedata.normalize("NFC", " ".join(kept.split()))
        if kept == text:
            return text, refused
        text = kept


def _keep(text: str) -> tuple[str, str | None]:
    kept: list[str] = []
    refused: str | None = None
    marks = place = 0
    while place < len(text):
        flag = next((flag for flag in _FLAGS if text.startswith(flag, place)), None)
        if flag is not None:
            kept.append(flag)
            place += len(flag)
            continue
        character = text[place]
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if _is_space(character):
            kept.append(" ")
        elif marks <= MAX_MARKS and _may_stand(character, kept, text[place + 1 : place + 2]):
            kept.append(character)
        else:
            refused = refused or character
            if character.isspace():
                kept.append(" ")
        place += 1
    return "".join(kept), refused


def _may_stand(character: str, before: list[str], after: str) -> bool:
    previous = before[-1][-1] if before else ""
    category = unicodedata.category(character)
    if character in (ZWJ, ZWNJ):
        return _may_join(character, before, after)
    if category in ("Mn", "Me") and previous in ("", " "):
        return False  # it would change the character in front of the name
    if _is_ignorable(character):
        return _may_select(character, previous)
    if category == "Cn":
        return not (0xFDD0 <= ord(character) <= 0xFDEF or ord(character) & 0xFFFE == 0xFFFE)  # newer than our tables: new emoji
    return category not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def _may_join(joiner: str, before: list[str], after: str) -> bool:
    """Where a joiner changes what is seen: RFC 5892, appendix A.1 and A.2, and the sequences of emoji (UTS 51)."""
    previous = before[-1][-1] if before else ""
    if not previous:
        return False
    if unicodedata.combining(previous) == 9 or (joiner == ZWJ and after and unicodedata.combining(after) == 9):
        return True  # a virama
    if _joins(previous) and after and _joins(after):
        return True
    base = next((part for part in reversed(before) if part not in _EMOJI_SELECTORS), "")
    return joiner == ZWJ and bool(base) and _is_emoji(base[0]) and bool(after) and _is_emoji(after)


def _may_select(selector: str, previous: str) -> bool:
    """A variation selector is seen only behind what has variants: emoji, ideographs, Mongolian letters."""
    if not previous or previous == " ":
        return False
    if selector in _EMOJI_SELECTORS:
        return _is_emoji(previous) or previous in "0123456789#*\u203c\u2049" or unicodedata.category(previous) in ("So", "Sm")
    name = unicodedata.name(previous, "")
    if "\u180b" <= selector <= "\u180d" or selector == "\u180f":
        return name.startswith("MONGOLIAN")
    if "\ufe00" <= selector <= "\ufe02" or "\U000e0100" <= selector <= "\U000e01ef":
        return name.startswith("CJK ")
    return False


def _joins(character: str) -> bool:
    name = unicodedata.name(character, "")
    return unicodedata.category(character)[0] in "LM" and name.startswith(_JOINING)


def _is_emoji(character: str) -> bool:
    if "\U0001f000" <= character <= "\U0001faff":
        return True
    return unicodedata.category(character) == "So" or character in "\u2194\u25fb\u25fc\u25fd\u25fe"


def _is_space(character: str) -> bool:
    return unicodedata.category(character) == "Zs"


def _is_ignorable(character: str) -> bool:
    return character in _BLANK or any(ord(character) in codes for codes in _IGNORABLE)


def _is_refused_in_body(character: str) -> bool:
    category = unicodedata.category(character)
    return character in _OVERRIDES or category == "Cs" or (category == "Cc" and character not in _BODY_CONTROLS)


def _is_balanced(text: str) -> bool:
    opened: list[str] = []
    for character in text:
        if character in _LINE_BREAKS:
            if opened:
                return False
        elif character in _EMBEDDINGS:
            opened.append(_POP_EMBEDDING)
        elif character in _ISOLATES:
            opened.append(_POP_ISOLATE)
        elif character in (_POP_EMBEDDING, _POP_ISOLATE) and (not opened or opened.pop() != character):
            return False
    return not opened


def _named(character: str) -> str:
    return f"U+{ord(character):04X}"
