# ruff: noqa: E501, RUF001  (the characters are the subject)
"""Names and messages: what people write must work, what misleads or breaks a sentence must not pass."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secureconnect.errors import Unprocessable
from secureconnect.text import (
    NAME_BYTES,
    NAME_CHARS,
    clean_name,
    is_name,
    is_visible,
    require_body,
    require_name,
)

GOOD = [
    "Ada", "Nguyễn Thị Ánh Tuyết", "Đặng Hữu Phúc", "O'Connor-Smith, Jr.", "محمد بن سلمان", "می\u200cخواهم", "דנה כהן", "דָּנָה", "山田 太郎", "김철수", "Иван",
    "प्रिया", "क्\u200dष", "ক্\u200cষ", "র\u200d্যাব", "ශ්\u200dරී", "ส้มตำ", "བོད", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🏴‍☠️", "❤️ Ada", "👍🏽", "🙂‍↔️", "🇻🇳", "1️⃣", "邊\U000e0100",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "<b>Ada</b>", "[red]Ada[/]", "{name}", "%s",
]  # fmt: skip
BAD = {
    "Ada\u202edraziW": "Ada" "draziW", "\u202bAda": "Ada", "\u2066Ada\u2069": "Ada", "A\u200fda": "Ada", "Ada\u061c": "Ada", "Ada\nAdmin": "Ada Admin",
    "Ada\r\n\tAdmin": "Ada Admin", "A\x07da": "Ada", "\x1b]0;pwned\x07Ada": "]0;pwnedAda", "Ada\x85Admin": "Ada Admin", "Ada\u2028Admin": "Ada Admin", "A\x7fda": "Ada",
    "Ada\u200b": "Ada", "Ada\u200d": "Ada", "\u200dAda": "Ada", "A\u200dda": "Ada", "A\u200cda": "Ada", "A\u00adda": "Ada", "\ufeffAda": "Ada", "Ada\u3164": "Ada", "Ada\u2800": "Ada",
    "Ada\U000e0041\U000e007f": "Ada", "Ada\ufe0f": "Ada", "Ada\U000e0100": "Ada", "Ada\ud800": "Ada", "Ada\0": "Ada", "Ada\ue000": "Ada", "Ada\ufffe": "Ada",
    "👩\u200d\u200d👩": "👩‍👩", "\u0301Ada": "Ada", "A" + "\u0336" * 50: "A" + "\u0336" * 8, "Ada\ufff9": "Ada", "Ada\ufffc": "Ada", "Ada\u180e": "Ada",
}  # fmt: skip
INVISIBLE = [
    "",
    " ",
    "\u00a0",
    "\u3000",
    "\u200b\u200b",
    "\u3164",
    "\u00ad",
    "\u2800",
    "\ufeff",
    "\u115f\u1160",
    "\uffa0",
    "\u034f",
    "\u200d",
    "\u202e\u202c",
    "\U000e0020",
]


@pytest.mark.parametrize("name", GOOD, ids=ascii)
def test_names_that_people_have_stay_as_they_are(name: str) -> None:
    expected = unicodedata.normalize("NFC", name)
    assert require_name("name", name) == expected
    assert clean_name(name) == expected
    assert is_name(expected)


@pytest.mark.parametrize(("name", "cleaned"), BAD.items(), ids=ascii)
def test_names_that_mislead_are_refused_and_cleaned(name: str, cleaned: str) -> None:
    with pytest.raises(Unprocessable, match=r"name: U\+[0-9A-F]{4,6} cannot be used"):
        require_name("name", name)
    assert clean_name(name) == unicodedata.normalize("NFC", cleaned)
    assert not is_name(name)


@pytest.mark.parametrize("name", INVISIBLE, ids=ascii)
def test_names_that_show_nothing_are_refused_and_cleaned_to_nothing(name: str) -> None:
    with pytest.raises(Unprocessable, match="name: "):
        require_name("name", name)
    assert clean_name(name) == ""


def test_names_are_normalized_and_their_spaces_are_single() -> None:
    assert require_name("name", " Nguye\u0302\u0303n\u00a0 \u3000Thi ") == "Nguyễn Thi"


def test_names_are_limited_in_characters_and_in_bytes() -> None:
    assert len(require_name("name", "x" * NAME_CHARS)) == NAME_CHARS
    assert len(require_name("name", "ễ" * NAME_CHARS).encode()) <= NAME_BYTES
    for name in ("x" * (NAME_CHARS + 1), "👍" * NAME_CHARS):
        with pytest.raises(Unprocessable, match="name: 1 to 80 characters"):
            require_name("name", name)
        assert clean_name(name) == name[: min(NAME_CHARS, NAME_BYTES // len(name[0].encode()))]


def test_a_cut_does_not_leave_half_a_sequence() -> None:
    name = clean_name("x" * (NAME_CHARS - 2) + "👩‍👩")
    assert name == "x" * (NAME_CHARS - 2) + "👩"


@given(st.text())
@example("\u0301\u0323a")
@example("\ud800")
def test_whatever_is_cleaned_is_a_name_or_nothing(text: str) -> None:
    name = clean_name(text)
    assert name == "" or (require_name("name", name) == name and is_name(name))
    assert not any(
        unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") or character in "\u202a\u202b\u202d\u202e" for character in name
    )
    assert len(name) <= NAME_CHARS
    assert len(name.encode()) <= NAME_BYTES


@pytest.mark.parametrize(
    "body", ["two\nlines\r\n\tand a tab", "\u202bשלום\u202c", "\u2067مرحبا\u2069 \u200f!", "می\u200cخواهم", "👩‍👩‍👧‍👦"], ids=ascii
)
def test_messages_keep_lines_and_closed_directions(body: str) -> None:
    require_body("content", body, chars=100, bytes_=400)


@pytest.mark.parametrize(
    "body",
    ["\x07", "a\x1b[2J", "a\0", "a\x85b", "a\u202eb\u202c", "a\u202db\u202c", "a\u202bb", "a\u2067b\nc\u2069", "a\u2069", "a\u202c", "a\ud800", "\u200b", "a" * 101, "👍" * 100 + "a"],
    ids=ascii,
)  # fmt: skip
def test_messages_with_controls_or_open_directions_are_refused(body: str) -> None:
    with pytest.raises(Unprocessable, match="content: "):
        require_body("content", body, chars=100, bytes_=400)


def test_what_is_visible() -> None:
    assert is_visible("\u200bx")
    assert is_visible("\U0001fae9")  # an emoji that this Python may not know yet
    assert not is_visible("\u0301")
