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
