"""The restrictions that are set in the kernel before foreign code runs; the code cannot lift them.

A seccomp filter (seccomp(2)) refuses sockets, signals, other processes' memory and descriptors, leaving the session's
process group, and io_uring; also what Landlock does not cover: truncating files and changing their attributes by name.
Where the kernel has Landlock (landlock(7)), files outside the folder can be read only where the interpreter and the
system's libraries are. Processor time, memory, file sizes and the number of processes are limited (setrlimit(2)), and
an administrator's further rights are dropped (capabilities(7)).
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 1, 38, 22, 2
_ERRNO, _ALLOW = 0x0005_0000, 0x7FFF_0000
_EPERM = 1
_X32 = 0x4000_0000
_CAPABILITIES = 0x2008_0522
_LOAD, _EQUAL, _GREATER_EQUAL, _RETURN = 0x20, 0x15, 0x35, 0x06
_SYSTEM_CALLS = {
    "x86_64": (
        0xC000_003E,
        (41, 42, 101, 310, 311, 321, 425, 438, 62, 200, 234, 129, 297, 424, 109, 112, 76),
        (90, 268, 452, 92, 94, 260, 132, 235, 261, 280, 188, 189, 463, 197, 198, 466, 469),
    ),
    "aarch64": (
        0xC000_00B7,
        (198, 203, 117, 270, 271, 280, 425, 438, 129, 130, 131, 138, 240, 424, 154, 157, 45),
        (53, 452, 54, 88, 5, 6, 463, 14, 15, 466, 469),
    ),
}
"""By machine: its audit number; the numbers of the refused calls: socket, connect, ptrace, process_vm_readv, -writev,
bpf, io_uring_setup, pidfd_getfd, kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal, setpgid,
setsid, truncate; and those of the calls that succeed without effect, as copying files would fail with an error: chmod,
chown, utime, setxattr and removexattr by name, each with its variants."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT = 444, 445, 446
_RULE_PATH = 1
_READ_RIGHTS = 0b1101
"""Landlock's rights to execute, to read a file and to read a folder."""
_READ_WRITE_RIGHTS = 0b110
_ALL_RIGHTS = (1 << 13) - 1
"""Every right of Landlock's first version."""
_READABLE_PATHS = (
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/opt/conda",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/fonts",
    "/etc/mime.types",
    "/dev/urandom",
    "/dev/zero",
    "/proc/self",
)


class LockdownError(RuntimeError):
    """Foreign code cannot be kept from the network on this machine."""


def lock_down(folder: Path, *, memory: int, cpu_seconds: int, file_bytes: int, processes: int) -> None:
    """Give up all rights that foreign code must not have. This cannot be undone.

    Args:
        folder: the only folder in which files may be written.
        memory: bytes of address space.
        cpu_seconds: processor time of the whole session.
        file_bytes: largest file.
        processes: how many may be started beside those the user has already.

    Raises:
        LockdownError: when this system does not let the rights be given up.
    """
    if not sys.platform.startswith("linux") or platform.machine() not in _SYSTEM_CALLS:
        raise LockdownError(f"code cannot be kept from the network on {sys.platform} {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _give_up_capabilities(libc)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise LockdownError("the kernel does not let privileges be given up")
    _limit_resources(memory, cpu_seconds, file_bytes, processes)
    _restrict_files(libc, folder)
    _filter_system_calls(libc)


def _give_up_capabilities(libc: ctypes.CDLL) -> None:
    """Drop all capabilities: an administrator could raise every limit again; for others nothing changes."""
    header, none = struct.pack("=Ii", _CAPABILITIES, 0), bytes(24)
    if libc.capset(ctypes.create_string_buffer(header), ctypes.create_string_buffer(none)):
        raise LockdownError("the kernel does not let capabilities be given up")


def _limit_resources(memory: int, cpu_seconds: int, file_bytes: int, processes: int) -> None:
    for limit, maximum in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, _count_threads() + processes),
    ):
        _, hard = resource.getrlimit(limit)
        bound = maximum if hard == resource.RLIM_INFINITY else min(maximum, hard)
        resource.setrlimit(limit, (bound, bound))


def _count_threads() -> int:
    """This user's threads, which the limit on processes counts, too."""
    count = 0
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == os.getuid():
                count += len(os.listdir(entry / "task"))  # noqa: PTH208
        except OSError:
            continue
    return count


def _restrict_files(libc: ctypes.CDLL, folder: Path) -> None:
    """Allow only the listed paths, by Landlock; without it all files stay as readable as they are to the user."""
    handled = ctypes.create_string_buffer(struct.pack("Q", _ALL_RIGHTS))
    ruleset = libc.syscall(_CREATE_RULESET, handled, 8, 0)
    if ruleset < 0:
        return
    readable = {*_READABLE_PATHS, sys.prefix, sys.base_prefix, sys.exec_prefix, *(path for path in sys.path if path)}
    for path in sorted(readable):
        _allow_path(libc, ruleset, path, _READ_RIGHTS)
    _allow_path(libc, ruleset, os.devnull, _READ_WRITE_RIGHTS)
    _allow_path(libc, ruleset, str(folder), _ALL_RIGHTS)
    libc.syscall(_RESTRICT, ruleset, 0)
    os.close(ruleset)


def _allow_path(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        path_fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    file_rights = rights if Path(path).is_dir() else rights & 0b111
    rule = ctypes.create_string_buffer(struct.pack("=Qi", file_rights, path_fd))
    libc.syscall(_ADD_RULE, ruleset, _RULE_PATH, rule, 0)
    os.close(path_fd)


def _filter_system_calls(libc: ctypes.CDLL) -> None:
    machine, refused, ignored = _SYSTEM_CALLS[platform.machine()]
    numbers = [*refused, *ignored]
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, machine), (_RETURN, 0, 0, _ERRNO | _EPERM), (_LOAD, 0, 0, 0)]
    program.append((_GREATER_EQUAL, len(numbers) + 1, 0, _X32))
    program += [(_EQUAL, len(numbers) - n + (n >= len(refused)), 0, number) for n, number in enumerate(numbers)]
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ERRNO)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    program_header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.create_string_buffer(program_header), 0, 0):
        raise LockdownError("the kernel takes no seccomp filter")
