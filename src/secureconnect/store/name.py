"""The column type of text that stands in sentences. Used by store.tables."""

from sqlalchemy import Dialect, String, TypeDecorator

from secureconnect.text import clean_name


class Name(TypeDecorator[str]):
    """Text that stands in sentences. What 0.1 stored without a check is cleaned on the way out."""

    impl = String
    cache_ok = True

    def __init__(self, chars: int, bytes_: int, unnamed: str | None) -> None:
        super().__init__(chars)
        self.chars = chars
        self.bytes_ = bytes_
        self.unnamed = unnamed
        """What stands for a text of which nothing is left."""

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return clean_name(value, chars=self.chars, bytes_=self.bytes_) or self.unnamed
