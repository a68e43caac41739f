"""One interpreter in its sandbox: started, spoken to, measured and ended.

An administrator's sandbox runs as nobody: the kernel counts processes of users only, and obeys an administrator who
writes below /proc/sys even where all capabilities are gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import orjson

from mediamill.tasks.errors import UsageError
from mediamill.tasks.local.sandbox.bubblewrap import MEMORY_FOLDERS, SANDBOX_ID, make_command, make_environment
from mediamill.tasks.local.sandbox.system_calls import MissingLibraryError, make_filter

LIMITS = {
    "AS": 4 * 2**30,
    "CORE": 0,
    "CPU": 600,
    "FSIZE": 256 * 2**20,
    "MEMLOCK": 2**20,
    "MSGQUEUE": 0,
    "NOFILE": 128,
    "NPROC": 64,
    "SIGPENDING": 1024,
}
"""By resource (setrlimit(2)), what a process may use; NPROC counts the processes and threads of the session."""
MAX_OUTPUT_BYTES = 2**20
MAX_MEMORY_BYTES = 4 * 2**30
"""What a session's processes and folders may hold together."""
_MAX_LINE_BYTES = 64 * 2**20
_READY_SECONDS = 30.0
_BYTES_OF_INODE = 2048
"""About what the kernel keeps for a file beside its content."""
_NOBODY = 65534
_HINT = (
    "allow user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns; in a "
    "container: start it with more rights), or choose another --provider"
)


class SandboxRefused(UsageError):
    """Foreign code cannot be locked up on this machine, so it is not run."""

    def __init__(self, cause: str, *, hint: str = _HINT) -> None:
        super().__init__(f"code is not run on this machine: {cause}", hint=hint)


@dataclass(slots=True)
class SandboxProcess:
    """A running interpreter.

    Attributes:
        process: bubblewrap, which ends with the sandbox.
        init_pid: the first process of the sandbox, with which all others end.
    """

    process: asyncio.subprocess.Process
    init_pid: int

    @classmethod
    async def start(cls, program: Path) -> Self:
        """Start an interpreter and wait until it takes cells.

        Args:
            program: bubblewrap.

        Raises:
            SandboxRefused: when this machine does not let it be locked up.
        """
        is_administrator = _is_administrator()
        with contextlib.ExitStack() as pipes:
            filter_reader, filter_writer = _open_pipe(pipes)
            filter_writer.write(_make_filter())
            filter_writer.close()
            info_reader, info_writer = _open_pipe(pipes)
            wait_reader, wait_writer = _open_pipe(pipes)
            error_reader, error_writer = _open_pipe(pipes)
            argument = {"limits": LIMITS, "output": MAX_OUTPUT_BYTES, "user": SANDBOX_ID if is_administrator else None}
            command = make_command(
                program,
                argument=json.dumps(argument),
                filter_fd=filter_reader.fileno(),
                info_fd=info_writer.fileno(),
                wait_fd=wait_reader.fileno() if is_administrator else None,
            )
            passed = [file.fileno() for file in (filter_reader, info_writer, wait_reader)]
            process = await _spawn(command, passed, error_writer)
            for file in (filter_reader, info_writer, wait_reader, error_writer):
                file.close()
            init_pid = None
            try:
                init_pid = json.loads(await asyncio.to_thread(info_reader.read))["child-pid"]
                if is_administrator:
                    _map_users(init_pid)
                wait_writer.close()
                assert process.stdout is not None
                await asyncio.wait_for(process.stdout.readuntil(b"\n"), _READY_SECONDS)
            except BaseException as error:
                await _kill(process, init_pid)
                if isinstance(error, (OSError, ValueError, EOFError)):
                    raise SandboxRefused(_find_cause(error_reader, error)) from None
                raise
            return cls(process, init_pid)

    async def ask(self, request: dict[str, Any]) -> Any:
        """Send a request; its reply.

        Raises:
            ValueError: when the interpreter has ended, or answers with what is no JSON or with too many lists in lists.
            OSError: when it does not listen.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        await self.process.stdin.drain()
        return orjson.loads(await self.process.stdout.readline())

    def kill(self) -> None:
        """Kill every process of the sandbox, without waiting."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.init_pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill every process of the sandbox; when this returns none is left, nor what it wrote."""
        self.kill()
        await self.process.wait()

    def measure_memory(self) -> int:
        """The bytes that the sandbox's processes and folders hold now; 0 when it has ended.

        Raises:
            OSError: when they cannot be measured.
        """
        root = Path(f"/proc/{self.init_pid}/root")
        try:
            folders = sum(_measure_folder(f"{root}{folder}") for folder in MEMORY_FOLDERS)
            pids = [entry for entry in os.listdir(root / "proc") if entry.isdigit()]  # noqa: PTH208
        except (FileNotFoundError, ProcessLookupError):
            return 0
        resident = sum(_read_resident(root / "proc" / pid) for pid in pids)
        if folders + resident > MAX_MEMORY_BYTES:  # forked processes share pages, which this counted several times
            resident = sum(_read_proportional(root / "proc" / pid) for pid in pids)
        return folders + resident


def _open_pipe(pipes: contextlib.ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    """Both ends of a pipe, to read and to write; they are closed with ``pipes`` at the latest."""
    reader, writer = os.pipe()
    return pipes.enter_context(os.fdopen(reader, "rb", 0)), pipes.enter_context(os.fdopen(writer, "wb", 0))


def _make_filter() -> bytes:
    try:
        return make_filter()
    except MissingLibraryError as error:
        raise SandboxRefused(f"it needs {error}", hint="install the package libseccomp2 or libseccomp") from None


async def _spawn(command: list[str], passed: list[int], errors: IO[bytes]) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            pass_fds=passed,
            cwd="/",
            env=make_environment(),
            start_new_session=True,
            limit=_MAX_LINE_BYTES,
        )
    except OSError as error:
        raise SandboxRefused(f"{command[0]} does not start: {error.strerror}") from None


def _is_administrator() -> bool:
    """True for the machine's administrator; one of a user namespace may be an ordinary user outside."""
    if os.geteuid() != 0:
        return False
    inside, outside, _ = Path("/proc/self/uid_map").read_text().splitlines()[0].split()
    return (inside, outside) == ("0", "0")


def _map_users(pid: int) -> None:
    """Map two users into the sandbox's user namespace: the administrator, who sets it up, and nobody, who runs code."""
    try:
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{name}").write_text(f"0 0 1\n{SANDBOX_ID} {_NOBODY} 1\n")
    except OSError as error:
        cause = f"an administrator's sandbox runs as nobody, who cannot be mapped here ({error.strerror})"
        raise SandboxRefused(cause, hint="run it as an ordinary user, or choose another --provider") from None


async def _kill(process: asyncio.subprocess.Process, init_pid: int | None) -> None:
    """Kill a sandbox that is not set up: its first process may still wait for bubblewrap, and would for ever."""
    for pid in (init_pid, process.pid if process.returncode is None else None):
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # asyncio's own kill() may reap it, which asyncio then warns about
    await process.wait()


def _find_cause(errors: IO[bytes], error: BaseException) -> str:
    """What bubblewrap or the interpreter said last, or else what went wrong here."""
    os.set_blocking(errors.fileno(), False)
    lines = (errors.read(65536) or b"").decode("utf-8", "replace").strip().splitlines()
    return (
        lines[-1].removeprefix("bwrap: ").rstrip(".")[:300]
        if lines
        else f"the interpreter does not start ({type(error).__name__})"
    )


def _measure_folder(path: str) -> int:
    """The bytes of a folder in memory, with what the kernel keeps for each file."""
    usage = os.statvfs(path)
    content = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
    return content + (usage.f_files - usage.f_ffree) * _BYTES_OF_INODE


def _read_resident(process: Path) -> int:
    """The bytes that a process holds in memory, with those it shares; 0 when it has ended."""
    try:
        return int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _read_proportional(process: Path) -> int:
    """The bytes that a process holds, of shared ones its part; with all where the kernel does not say."""
    try:
        text = (process / "smaps_rollup").read_text()
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return _read_resident(process)
