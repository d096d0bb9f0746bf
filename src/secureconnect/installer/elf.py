"""What an ELF file asks its loader for: the libraries it needs, and the loader itself. Reads 64-bit little-endian files only.

The layout is that of elf(5) and of the System V ABI, chapter "Dynamic Linking".
"""

import struct
from collections.abc import Iterator
from pathlib import Path

MAGIC = b"\x7fELF\x02\x01"
LOAD, DYNAMIC, INTERPRETER = 1, 2, 3
NEEDED, STRING_TABLE = 1, 5


class NotElf(Exception):
    """The file is not a 64-bit little-endian ELF file, or it is damaged."""


class ElfFile:
    """One executable or shared library. `needed` holds library names, `interpreter` is None for a library."""

    def __init__(self, path: Path) -> None:
        self._data = path.read_bytes()
        if not self._data.startswith(MAGIC):
            raise NotElf(f"{path} is not a 64-bit ELF file")
        try:
            self._segments = list(self._read_segments())
            self.needed = self._read_needed()
            self.interpreter = self._read_interpreter()
        except (struct.error, ValueError, OverflowError) as fault:
            raise NotElf(f"{path} is damaged: {fault}") from fault

    def _read_segments(self) -> Iterator[tuple[int, int, int, int]]:
        """Type, offset in the file, address in memory and size in the file, bytes."""
        (table,) = struct.unpack_from("<Q", self._data, 32)
        size, count = struct.unpack_from("<HH", self._data, 54)
        for index in range(count):
            kind, _flags, offset, address, _physical, length = struct.unpack_from("<IIQQQQ", self._data, table + index * size)
            yield kind, offset, address, length

    def _read_needed(self) -> tuple[str, ...]:
        entries = [entry for kind, offset, _, size in self._segments if kind == DYNAMIC for entry in self._entries(offset, size)]
        strings = self._offset_of(next((value for tag, value in entries if tag == STRING_TABLE), 0)) if entries else 0
        return tuple(self._text(strings + value) for tag, value in entries if tag == NEEDED)

    def _entries(self, offset: int, size: int) -> Iterator[tuple[int, int]]:
        for at in range(offset, offset + size, 16):
            tag, value = struct.unpack_from("<QQ", self._data, at)
            if tag == 0:
                return
            yield tag, value

    def _offset_of(self, address: int) -> int:
        for kind, offset, begin, size in self._segments:
            if kind == LOAD and begin <= address < begin + size:
                return address - begin + offset
        raise ValueError("its string table is outside of the file")

    def _read_interpreter(self) -> str | None:
        return next((self._text(offset) for kind, offset, _, _ in self._segments if kind == INTERPRETER), None)

    def _text(self, offset: int) -> str:
        return self._data[offset : self._data.index(b"\0", offset)].decode()
