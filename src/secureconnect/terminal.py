"""Text of others on an operator's terminal: shown, never obeyed. Pure.

Names, titles and what other programs say may hold escape sequences, line breaks and characters that turn the direction of what
follows. Whatever a command prints of them goes through here.
"""

import unicodedata

from rich.text import Text

JOINERS = frozenset("\u200c\u200d")
"""Zero-width joiners belong to words of several scripts and to emoji."""
ESCAPED = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Controls, formats (bidi among them), private use, surrogates, and separators of lines (Unicode, section 4.5)."""


def escape_for_terminal(text: str) -> str:
    """Return the text with everything that a terminal obeys written as its number."""
    return "".join(_escape(character) for character in text)


def _escape(character: str) -> str:
    if character in JOINERS or unicodedata.category(character) not in ESCAPED:
        return character
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def foreign(text: str, style: str = "") -> Text:
    """Return text of others for rich: escaped, and in which brackets mean nothing."""
    return Text(escape_for_terminal(text), style)


def escape_json(text: str) -> str:
    """Return a JSON document with everything in its strings that a terminal obeys as JSON's own escapes: the same document."""
    return "".join(character if character == "\n" else _escape_in_json(character) for character in text)


def _escape_in_json(character: str) -> str:
    if character in JOINERS or unicodedata.category(character) not in ESCAPED:
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
