"""Text on its way into a database: what can be stored, and how it is compared. Called by services before they write or search."""

import unicodedata

from secureconnect.errors import Unprocessable


def is_storable(text: str) -> bool:
    """Whether every database takes it: PostgreSQL stores no NUL, and a lone surrogate is no Unicode text (definition D76)."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def require_storable(field: str, text: str) -> None:
    """Raises Unprocessable, naming the field, when the text cannot be stored."""
    if not is_storable(text):
        raise Unprocessable(f"{field}: NUL and lone surrogates cannot be stored; leave them out.")


def fold(text: str) -> str:
    """Text as searches compare it: compatibility forms joined, case taken away (NFKC_Casefold in essence), single spaces.

    Done here because SQLite folds ASCII alone and the others fold as their locale says.
    """
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())
