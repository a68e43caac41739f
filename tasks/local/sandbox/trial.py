"""The trial before foreign code runs: an interpreter is locked up and told to get out. It must fail at each try."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from mediamill.tasks.local.sandbox.bubblewrap import DEVICES, FOLDER_BYTES, MEMORY_FOLDERS, find_bubblewrap_programs
from mediamill.tasks.local.sandbox.sandbox_process import LIMITS, SandboxProcess, SandboxRefused

_TRIAL_SECONDS = 20.0
_CODE = """
import ctypes, importlib.util, os, resource, socket, threading

def succeeds(attempt):
    try:
        attempt()
    except (OSError, ValueError, RuntimeError):
        return False
    return True

def start_threads():
    release = threading.Event()
    try:
        for _ in range(limits["NPROC"] + 1):
            threading.Thread(target=release.wait, daemon=True).start()
    finally:
        release.set()

def is_oversized(folder):
    usage = os.statvfs(folder)
    return usage.f_blocks * usage.f_frsize > folder_bytes

status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
escapes = {
    "reads the files of this machine": lambda: open(file),
    "writes outside its folder": lambda: open("/etc/x", "w"),
    "changes the interpreter": lambda: open(os.__file__, "r+"),
    "reaches the network": lambda: socket.create_connection(("127.0.0.1", port), 1),
    "reaches the sockets of this machine": lambda: socket.socket(socket.AF_UNIX).connect(abstract),
    "reaches the host of a virtual machine": lambda: socket.socket(socket.AF_VSOCK),
    "changes the kernel's settings": lambda: open("/proc/sys/kernel/core_pattern", "r+"),
    "starts any number of processes": start_threads,
    "raises its limits": lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)),
}
found = [name for name, attempt in escapes.items() if succeeds(attempt)]
libc = ctypes.CDLL(None)
if libc.unshare(0x10000000) == 0 or libc.memfd_create(b"x", 0) >= 0 or libc.shmget(0, 4096, 0o1600) >= 0:
    found.append("makes system calls that are refused")
if os.getuid() == 0 or int(status["CapEff"], 16) or status["NoNewPrivs"] != "1" or status["Seccomp"] != "2":
    found.append("keeps rights")
if len([name for name in os.listdir("/proc") if name.isdigit()]) > 2:
    found.append("sees other processes")
mounts = [line.split() for line in open("/proc/self/mounts")]
writable = [mount[1] for mount in mounts if "ro" not in mount[3].split(",") and mount[1] not in (*folders, *devices)]
if any(path != "/proc" and not path.startswith("/proc/") for path in writable):
    found.append("has writable mounts")
if any(map(is_oversized, folders)):
    found.append("has folders without a size")
package = importlib.util.find_spec("numpy")
if not package or not os.access(package.origin, os.R_OK):
    found.append("cannot read the interpreter's packages")
for name, value in limits.items():
    if resource.getrlimit(getattr(resource, "RLIMIT_" + name))[1] > value:
        found.append("has no limit " + name)
found
"""


async def find_working_bubblewrap() -> Path:
    """Find a bubblewrap that holds foreign code on this machine, by trying it.

    Raises:
        SandboxRefused: when there is none.
    """
    if not sys.platform.startswith("linux"):
        raise SandboxRefused(f"{sys.platform} cannot lock it up", hint="run it on Linux, or choose another --provider")
    refusals = []
    for program in find_bubblewrap_programs():
        try:
            await _try_to_get_out(program)
        except SandboxRefused as refusal:
            refusals.append(refusal)
        else:
            return program
    if refusals:
        raise refusals[0]
    raise SandboxRefused("it needs bubblewrap", hint="install the system's package bubblewrap")


async def _try_to_get_out(program: Path) -> None:
    sandbox = await SandboxProcess.start(program)
    try:
        with (
            tempfile.NamedTemporaryFile() as file,
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.socket(socket.AF_UNIX) as abstract,
        ):
            Path(file.name).chmod(0o644)
            name = f"\0mediamill-{uuid.uuid4().hex}"
            abstract.bind(name)
            abstract.listen()
            reply = await asyncio.wait_for(
                sandbox.ask({"code": _make_code(file.name, server.getsockname()[1], name)}), _TRIAL_SECONDS
            )
            outputs = reply["outputs"]
            held = sandbox.measure_memory()
    except (TimeoutError, OSError, ValueError, KeyError) as error:
        raise SandboxRefused(f"the trial before it did not end well ({type(error).__name__})") from None
    finally:
        await sandbox.end()
    if outputs != [{"type": "execute_result", "data": {"text/plain": "[]"}}]:
        raise SandboxRefused(f"in a trial, code in the sandbox: {_describe(outputs)}")
    if not held:
        raise SandboxRefused("the memory that it holds cannot be measured")


def _make_code(file: str, port: int, abstract: str) -> str:
    """The trial's cell. Outside a sandbox ``file`` can be read, and ``port`` and the socket ``abstract`` be reached."""
    names: dict[str, Any] = {
        "file": file,
        "port": port,
        "abstract": abstract,
        "limits": LIMITS,
        "folders": MEMORY_FOLDERS,
        "folder_bytes": FOLDER_BYTES,
        "devices": DEVICES,
    }
    return f"import json\nglobals().update(json.loads({json.dumps(names)!r}))\n{_CODE}"


def _describe(outputs: list[dict[str, Any]]) -> str:
    data = outputs[-1]["data"] if outputs else "answers nothing"
    return str(data.get("text/plain") if isinstance(data, dict) else data).splitlines()[-1][:300]
