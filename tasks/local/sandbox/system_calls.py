"""The filter of system calls that bubblewrap loads, made by the system's libseccomp.

Namespaces hide other processes and files. What these calls reserve would not count: memory that belongs to no process
and no folder, queues, the kernel's keys, sockets with buffers larger than usual. Sockets other than those of the
session's own processes are refused too: some kinds reach the host of a virtual machine whatever the namespace, and
buffers of TCP are shared by the whole machine.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import socket

_ALLOW, _REFUSE = 0x7FFF_0000, 0x0005_0000 | errno.EPERM  # SCMP_ACT_ALLOW and SCMP_ACT_ERRNO(EPERM) of seccomp.h
_LIBRARY = "libseccomp.so.2"
REFUSED = (
    *("memfd_create", "memfd_secret", "shmget", "shmat", "msgget", "semget", "mq_open"),
    *("add_key", "request_key", "keyctl"),
    *("bpf", "io_uring_setup", "perf_event_open", "ptrace", "userfaultfd", "setns", "unshare"),
)


class _Comparison(ctypes.Structure):
    """A condition on an argument of a system call (``struct scmp_arg_cmp``)."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("mask", ctypes.c_uint64),
    )


_NOT_EQUAL, _EQUAL_MASKED = 1, 7  # SCMP_CMP_NE, SCMP_CMP_MASKED_EQ
_INT = 0xFFFF_FFFF
"""The kernel takes no more of an argument that is an int."""
_SO_SNDBUFFORCE = 32  # asm-generic/socket.h; the module socket does not know it


class MissingLibraryError(RuntimeError):
    """The system has no libseccomp."""


@functools.cache
def make_filter() -> bytes:
    """Make the filter, in the form that the kernel takes.

    Raises:
        MissingLibraryError: when the system has no libseccomp.
    """
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise MissingLibraryError(_LIBRARY) from None
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ALLOW)))
    try:
        for name in REFUSED:
            _refuse(library, context, name)
        _refuse(library, context, "socket", _Comparison(0, _NOT_EQUAL, socket.AF_UNIX, 0))
        for option in (socket.SO_SNDBUF, _SO_SNDBUFFORCE):
            _refuse(
                library,
                context,
                "setsockopt",
                _Comparison(1, _EQUAL_MASKED, _INT, socket.SOL_SOCKET),
                _Comparison(2, _EQUAL_MASKED, _INT, option),
            )
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def _refuse(library: ctypes.CDLL, context: ctypes.c_void_p, name: str, *conditions: _Comparison) -> None:
    """Refuse a system call, where this kernel's machine has it, or only where all conditions hold."""
    number = library.seccomp_syscall_resolve_name(name.encode())
    compared = (_Comparison * len(conditions))(*conditions)
    if number >= 0 and library.seccomp_rule_add_array(
        context, ctypes.c_uint32(_REFUSE), number, len(conditions), compared
    ):
        raise MissingLibraryError(f"a {_LIBRARY} that filters {name}")


def _export(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    reader, writer = os.pipe()
    try:
        failed = library.seccomp_export_bpf(context, writer)
    finally:
        os.close(writer)
    with os.fdopen(reader, "rb") as file:
        program = file.read()
    if failed or not program:
        raise MissingLibraryError(f"a {_LIBRARY} that writes its filter")
    return program
