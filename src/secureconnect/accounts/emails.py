"""Email addresses as they are kept and looked up: one account for all spellings of one address. Pure."""

from unicodedata import normalize


def normal_email(email: str) -> str:
    """Return an email as new accounts keep it: without space around it, compatibility forms composed (NFKC), case folded."""
    text = email.strip()
    return text.lower() if text.isascii() else normalize("NFKC", normalize("NFKC", text).casefold())


def email_spellings(email: str) -> tuple[str, ...]:
    """Return the spellings under which an account may be kept, the strongest claim first.

    0.1 kept emails in lower case and as they were composed; those accounts are found by the spelling they were made with.
    """
    kept = email.strip().lower()
    if kept.isascii():
        return (kept,)
    return tuple(dict.fromkeys((kept, normalize("NFC", kept), normalize("NFD", kept), normal_email(email))))
