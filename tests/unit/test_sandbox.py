"""The filter of system calls, run here on the calls that it judges; the kernel's part is tested where Janus is (contract)."""

import errno

import pytest

from secureconnect.sandbox import ALLOW, CALLS, ERRNO, FAMILY, KILL, filter_program

AND, JUMP_ANY_BIT, JUMP_AT_LEAST, JUMP_EQUAL, LOAD, RETURN = 0x54, 0x45, 0x35, 0x15, 0x20, 0x06


def judge(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter answers, by the rules of linux/filter.h."""
    words = {0: number, 4: FAMILY[machine] if architecture is None else architecture}
    words |= {16 + 8 * index: argument for index, argument in enumerate([*arguments, 0, 0, 0, 0, 0, 0])}
    program, at, accumulator = filter_program(machine), 0, 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        match code:
            case _ if code == LOAD:
                accumulator = words[value]
            case _ if code == AND:
                accumulator &= value
            case _ if code == RETURN:
                return value
            case _:
                holds = {
                    JUMP_EQUAL: accumulator == value,
                    JUMP_AT_LEAST: accumulator >= value,
                    JUMP_ANY_BIT: bool(accumulator & value),
                }[code]
                at += if_true if holds else if_false


@pytest.mark.parametrize("machine", FAMILY)
def test_each_jump_stays_in_the_program_and_fits_its_byte(machine: str) -> None:
    program = filter_program(machine)
    assert len(program) < 4096
    for at, (_, if_true, if_false, _) in enumerate(program):
        assert 0 <= if_true < 256
        assert 0 <= if_false < 256
        assert at + 1 + max(if_true, if_false) < len(program) + 1


@pytest.mark.parametrize("machine", FAMILY)
@pytest.mark.parametrize(
    ("family", "kind", "allowed"),
    [
        (1, 1, True),  # AF_UNIX, SOCK_STREAM
        (1, 1 | 0o2000000 | 0o4000, True),  # with SOCK_CLOEXEC and SOCK_NONBLOCK
        (1, 2, False),  # AF_UNIX, SOCK_DGRAM
        (1, 5, False),  # AF_UNIX, SOCK_SEQPACKET
        (2, 2, True),  # AF_INET, SOCK_DGRAM
        (2, 2 | 0o2000000, True),
        (10, 2, True),
        (2, 1, False),
        (10, 1, False),
        (2, 3, False),  # SOCK_RAW
        (10, 5, False),
        (16, 3, True),  # AF_NETLINK
        (17, 3, False),  # AF_PACKET
        (40, 1, False),  # AF_VSOCK
        (38, 5, False),  # AF_ALG
    ],
)
def test_sockets_are_for_media_and_for_listening(machine: str, family: int, kind: int, allowed: bool) -> None:
    number = CALLS["socket"][list(FAMILY).index(machine)]
    assert number is not None
    assert judge(machine, number, family, kind) == (ALLOW if allowed else ERRNO | errno.EACCES)


@pytest.mark.parametrize("machine", FAMILY)
def test_threads_are_made_and_processes_are_not(machine: str) -> None:
    column = list(FAMILY).index(machine)
    clone, clone3 = CALLS["clone"][column], CALLS["clone3"][column]
    assert clone is not None
    assert clone3 is not None
    assert judge(machine, clone, 0x003D0F00) == ALLOW  # what pthread_create(3) asks for
    assert judge(machine, clone, 17) == ERRNO | errno.EPERM  # what fork(3) asks for
    assert judge(machine, clone3) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("machine", FAMILY)
def test_all_else_that_is_listed_is_refused_and_all_others_pass(machine: str) -> None:
    column = list(FAMILY).index(machine)
    numbers = {numbers[column]: name for name, numbers in CALLS.items()}
    for number in range(500):
        if number not in numbers:
            assert judge(machine, number) == ALLOW
        elif numbers[number] not in {"socket", "clone", "clone3"}:
            assert judge(machine, number) == ERRNO | errno.EACCES, numbers[number]


def test_calls_by_another_way_in_are_no_way_around_it() -> None:
    assert judge("x86_64", 41, 2, 1, architecture=0x40000003) == KILL  # 32 bits: other numbers
    assert judge("x86_64", 0x40000000 | 41, 2, 1) == ERRNO | errno.EPERM  # x32
