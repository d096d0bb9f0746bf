"""Start a program that parses what strangers send, so that a fault in it reaches little: a launcher, and what it is given.

Our process runs this file as a script, with the interpreter isolated (`python -I -S`), because what it does to itself cannot be
taken back. It gives up root, restricts itself, and becomes the program (execve(2)). It imports the standard library only.

- seccomp(2): no connection to another socket, no TCP, no new process, no tracing, none of the calls that need privileges.
- landlock(7): files below the folders that are named, execution of the files that are named, no TCP, no signals to others.
- Without root: the user is `nobody` when we are root, no privileges can be gained, no core is written, and it ends with us.

A kernel without one of the first two starts the program without it; `missing_parts` names what is missing.
"""

import ctypes
import errno
import json
import os
import platform
import resource
import signal
import struct
import sys
from dataclasses import asdict, dataclass
from typing import Any

NOBODY = 65534
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 1, 22, 38, 2
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
"""BPF instructions: BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_JMP|JSET|K, BPF_ALU|AND|K, BPF_RET|K."""
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16
CLONE_THREAD, X32 = 0x10000, 0x40000000
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, SOCK_STREAM, SOCK_DGRAM = 1, 2, 10, 16, 1, 2
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
FILES_OF_VERSION = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF}
"""Access to files that each version of Landlock can handle; later ones handle what 5 does."""
FILE_ONLY = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14 | 1 << 15
TCP, SCOPES = 3, 3
"""Bind and connect, since version 4; abstract Unix sockets and signals, since version 6."""

FAMILY = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH of each machine whose system calls are known here."""
CALLS: dict[str, tuple[int, int | None]] = {
    # name: number on x86_64, on aarch64 (None: it has no such call)
    "socket": (41, 198),
    "connect": (42, 203),
    "clone": (56, 220),
    "fork": (57, None),
    "vfork": (58, None),
    "kill": (62, 129),
    "ptrace": (101, 117),
    "personality": (135, 92),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "acct": (163, 89),
    "mount": (165, 40),
    "umount2": (166, 39),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "init_module": (175, 105),
    "delete_module": (176, 106),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "unshare": (272, 97),
    "perf_event_open": (298, 241),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "setns": (308, 268),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "pidfd_send_signal": (424, 424),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "pidfd_open": (434, 434),
    "clone3": (435, 435),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "mount_setattr": (442, 442),
}
SPECIAL = {"socket", "clone", "clone3"}


@dataclass(frozen=True)
class Sandbox:
    """What the program may do: read what is below `readable`, read and write what is below `writable`, start `executable`."""

    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    executable: tuple[str, ...] = ()

    def command(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """What starts `command` in this sandbox."""
        return (sys.executable, "-I", "-S", __file__, json.dumps(asdict(self)), str(os.getpid()), *command)


def missing_parts() -> list[str]:
    """What this kernel does not enforce; empty when all is."""
    found = []
    if platform.machine() not in FAMILY or not os.path.exists("/proc/sys/kernel/seccomp/actions_avail"):  # noqa: PTH110
        found.append("seccomp: it can connect to services of this machine")
    version = landlock_version()
    if version < 1:
        found.append("Landlock: it can read the files of its user")
    return found


def landlock_version() -> int:
    """The version of Landlock in this kernel; 0 without it."""
    return max(0, int(_libc().syscall(LANDLOCK_CREATE, None, 0, 1)))


def filter_program(machine: str) -> list[tuple[int, int, int, int]]:
    """The seccomp filter: code, jump if true, jump if false, value. See linux/filter.h and seccomp(2)."""
    column = list(FAMILY).index(machine)
    numbers = {name: numbers[column] for name, numbers in CALLS.items()}
    program = [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (JUMP_EQUAL, 1, 0, FAMILY[machine]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER_AT),
    ]
    if machine == "x86_64":
        program += [(JUMP_AT_LEAST, 0, 1, X32), (RETURN, 0, 0, ERRNO | errno.EPERM)]
    for name, number in numbers.items():
        if number is not None and name not in SPECIAL:
            program += _block(number, [(RETURN, 0, 0, ERRNO | errno.EACCES)])
    # glibc falls back to clone, whose flags can be read here.
    program += _block(numbers["clone3"], [(RETURN, 0, 0, ERRNO | errno.ENOSYS)])
    is_thread = [(LOAD, 0, 0, ARGUMENTS_AT), (JUMP_ANY_BIT, 1, 0, CLONE_THREAD), (RETURN, 0, 0, ERRNO | errno.EPERM)]
    program += _block(numbers["clone"], [*is_thread, (RETURN, 0, 0, ALLOW)])
    program += _block(numbers["socket"], _socket_rules())
    return [*program, (RETURN, 0, 0, ALLOW)]


def _block(number: int | None, rules: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Rules for one system call; the others jump over them. They end with a return."""
    assert number is not None
    return [(JUMP_EQUAL, 0, len(rules), number), *rules]


def _socket_rules() -> list[tuple[int, int, int, int]]:
    """UDP for media, netlink for the list of addresses, a Unix socket to listen on."""
    family = (LOAD, 0, 0, ARGUMENTS_AT)
    kind = [(LOAD, 0, 0, ARGUMENTS_AT + 8), (AND, 0, 0, 0xF)]
    allow, refuse = (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERRNO | errno.EACCES)
    return [
        family,
        *((JUMP_EQUAL, 0, 1, AF_NETLINK), allow),
        *((JUMP_EQUAL, 0, 4, AF_UNIX), *kind, (JUMP_EQUAL, 0, 1, SOCK_STREAM), allow),
        family,
        *((JUMP_EQUAL, 1, 0, AF_INET), (JUMP_EQUAL, 0, 4, AF_INET6), *kind, (JUMP_EQUAL, 0, 1, SOCK_DGRAM), allow),
        refuse,
    ]


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _restrict_files(sandbox: Sandbox, version: int) -> int:
    """A ruleset of Landlock, as a file descriptor; -1 without Landlock. Root is given up later: it can open each path."""
    if version < 1:
        return -1
    files = FILES_OF_VERSION[min(version, 5)]
    attributes = struct.pack("QQQ", files, TCP if version >= 4 else 0, SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = int(_libc().syscall(LANDLOCK_CREATE, attributes, size, 0))
    if ruleset < 0:
        return -1
    rights = (
        (sandbox.readable, READ_FILE | READ_DIR),
        (sandbox.writable, files & ~EXECUTE),
        (sandbox.executable, EXECUTE | READ_FILE),
    )
    for paths, access in rights:
        for path in paths:
            try:
                descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue  # what is not there cannot be used either
            allowed = access if os.path.isdir(path) else access & FILE_ONLY  # noqa: PTH112
            _libc().syscall(LANDLOCK_ADD, ruleset, 1, struct.pack("=Qi", allowed & files, descriptor), 0)
            os.close(descriptor)
    return ruleset


def _filter_calls() -> None:
    machine = platform.machine()
    if machine not in FAMILY:
        return
    program = filter_program(machine)
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in program))
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(instructions))
    _libc().prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0)


def restrict(sandbox: Sandbox, parent: int) -> None:
    """Restrict this process, which ends with the process `parent` from now on. Nothing of it can be taken back."""
    libc = _libc()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ruleset = _restrict_files(sandbox, landlock_version())
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the process that started this one has ended")
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        sys.exit("this kernel cannot take privileges away")
    if ruleset >= 0:
        libc.syscall(LANDLOCK_RESTRICT, ruleset, 0)
        os.close(ruleset)
    _filter_calls()


def main(arguments: list[str]) -> None:
    """Restrict this process and become the program: the sandbox as JSON, the process to end with, the command."""
    command = arguments[2:]
    restrict(Sandbox(**json.loads(arguments[0])), int(arguments[1]))
    try:
        os.execv(command[0], command)  # noqa: S606
    except OSError as failure:
        sys.exit(f"{command[0]} does not start: {failure.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
