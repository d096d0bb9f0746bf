"""Programs run within bounds. The shell stands for the real ones here, and says what it sees."""

import os
import time
from pathlib import Path

import pytest

from secureconnect.recording import CannotCompose
from secureconnect.recording.program import MAX_WORDS, NICE, NOBODY, Limits, open_to_programs, run

pytestmark = pytest.mark.anyio

LIMITS = Limits(cpu_seconds=5, memory_bytes=2**28, file_bytes=2**16)


async def said(script: str, folder: Path, limits: Limits = LIMITS) -> str:
    output: list[bytes] = []
    await run(["sh", "-c", script], folder, limits, on_output=output.append)
    return b"".join(output).decode()


async def test_it_knows_nothing_of_us_and_has_no_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURECONNECT_SECRET", "ours")
    seen = await said("env; pwd; id -u; nice; grep NoNewPrivs /proc/self/status", tmp_path)
    assert "SECURECONNECT" not in seen
    user = NOBODY if os.geteuid() == 0 else os.geteuid()
    niceness = min(os.nice(0) + NICE, 19)  # it adds to that of whoever started the tests
    assert seen.splitlines()[-4:] == [str(tmp_path), str(user), str(niceness), "NoNewPrivs:\t1"]


async def test_it_writes_into_the_folder_that_is_open_to_it(tmp_path: Path) -> None:
    open_to_programs(tmp_path)
    await said("echo something > made", tmp_path)
    assert (tmp_path / "made").read_text() == "something\n"


async def test_its_input_is_read_where_it_lies(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "input").write_text("words")
    hidden.chmod(0o700)
    output: list[bytes] = []
    with (hidden / "input").open("rb") as file:
        await run(["cat", "/dev/stdin"], tmp_path, LIMITS, stdin=file, on_output=output.append)
    assert output == [b"words"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo first >&2; echo the last words >&2; exit 3", "sh: the last words"),
        ("exit 3", "sh: ended with 3"),
        ("kill -SEGV $$", "sh: killed by signal 11"),
        ("head -c 100000 /dev/zero > large", "sh: "),
        ("printf 'a\\033[31m\\007b' >&2; exit 1", "sh: a\\[31mb"),
    ],
)
async def test_what_fails_says_why(tmp_path: Path, script: str, words: str) -> None:
    open_to_programs(tmp_path)
    with pytest.raises(CannotCompose, match=words):
        await said(script, tmp_path)


async def test_what_it_says_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(CannotCompose) as failure:
        await said("yes words | head -c 3000000 | tr -d '\\n' >&2; exit 1", tmp_path)
    assert len(str(failure.value)) <= MAX_WORDS + len("sh: ")


async def test_time_memory_and_files_are_limited(tmp_path: Path) -> None:
    open_to_programs(tmp_path)
    began = time.process_time()
    for script, limits in (
        ("while :; do :; done", Limits(1, 2**28, 2**16)),
        ("exec dd bs=100M count=1 if=/dev/zero of=/dev/null", Limits(5, 2**25, 2**16)),
        ("exec head -c 100000 /dev/zero > large", LIMITS),
    ):
        with pytest.raises(CannotCompose):
            await said(script, tmp_path, limits)
    assert time.process_time() - began < 60
    assert (tmp_path / "large").stat().st_size <= LIMITS.file_bytes


async def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotCompose, match="secureconnect-no-such-program"):
        await run(["secureconnect-no-such-program"], tmp_path, LIMITS)
