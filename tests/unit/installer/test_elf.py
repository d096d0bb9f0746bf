"""What ELF files say that they need, read from files that are on each machine, and from damaged ones."""

import sys
from contextlib import suppress
from pathlib import Path

import pytest

from secureconnect.installer.elf import ElfFile, NotElf

PROGRAM = Path(sys.executable).resolve()


def test_a_program_names_its_loader_and_its_libraries() -> None:
    program = ElfFile(PROGRAM)
    assert program.interpreter is not None
    assert Path(program.interpreter).exists()
    assert "libc.so.6" in program.needed


def test_a_library_names_no_loader() -> None:
    maps = Path("/proc/self/maps").read_text().splitlines()
    path = next(line.split()[-1] for line in maps if line.split()[-1].endswith("/libm.so.6"))
    library = ElfFile(Path(path))
    assert library.interpreter is None
    assert "libc.so.6" in library.needed


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(200)])
def test_what_is_no_elf_file_of_64_bits_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(NotElf):
        ElfFile(tmp_path / "file")


@pytest.mark.parametrize("size", [20, 63, 64, 100, 300])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(PROGRAM.read_bytes()[:size])
    with pytest.raises(NotElf):
        ElfFile(tmp_path / "file")


@pytest.mark.parametrize("at", [*range(32, 40), *range(54, 58), *range(64, 64 + 56 * 4, 5)])
def test_a_file_with_a_wrong_byte_is_read_or_refused(tmp_path: Path, at: int) -> None:
    content = bytearray(PROGRAM.read_bytes()[:65_536])
    content[at] ^= 0xFF
    (tmp_path / "file").write_bytes(content)
    with suppress(NotElf):
        ElfFile(tmp_path / "file")
