"""Foreign code reaches nothing of this machine: no file, process, network, right or kernel object but its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mediamill.tasks.local.sandbox.sandbox_sessions import SandboxSession, SandboxSessions
from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.sandbox import needs_sandbox
from tests.local.sandbox.conftest import RunCode

pytestmark = needs_sandbox
ROOT = Path(__file__).parents[3]

SYSTEM_CALL = "import ctypes; c = ctypes.CDLL(None, use_errno=True)\n"
FAILING = {
    "reads a file": "open('{file}').read()",
    "reads a file through /proc": "open('/proc/self/root{file}').read()",
    "reads a file through a link": "import os; os.symlink('{file}', 'mine'); open('mine').read()",
    "reads the users": "open('/etc/passwd').read()",
    "reads the kernel's memory": "open('/dev/kmem')",
    "reads a disk": "open('/dev/vda')",
    "lists a folder": "import os; os.listdir('{folder}')",
    "lists the checkout": "import os; os.listdir('{root}/tasks')",
    "lists the home": "import os; os.listdir('{home}/.ssh')",
    "writes a file": "open('{file}', 'w')",
    "writes beside itself": "open('/mediamill/child.py', 'r+')",
    "writes into /": "open('/x', 'w')",
    "writes into /dev": "open('/dev/x', 'w')",
    "writes a device": "import os; os.mknod('disk', 0o60600, os.makedev(254, 0))",
    "changes a package": "import click; open(click.__file__, 'r+')",
    "adds a package": "import click; open(click.__path__[0] + '/evil.py', 'w')",
    "changes the library": "import os; open(os.__file__, 'r+')",
    "empties the library by opening it": "import os; os.open(os.__file__, os.O_RDONLY | os.O_TRUNC)",
    "empties the library": "import os; os.truncate(os.__file__, 0)",
    "changes the library's mode": "import os; os.fchmod(os.open(os.__file__, os.O_RDONLY), 0o777)",
    "changes the library's times": "import os; os.utime(os.__file__, (1, 1))",
    "changes the interpreter's owner": "import os, sys; os.chown(sys.executable, 1000, 1000)",
    "removes a file": "import os; os.remove('{file}')",
    "renames a file": "import os; os.rename('{file}', 'renamed')",
    "links a file": "import os; os.link('{file}', 'linked')",
    "links the library": "import os; os.link(os.__file__, 'library')",
    "mounts": SYSTEM_CALL + "if c.mount(b'none', b'/session', b'tmpfs', 0, None): raise OSError(ctypes.get_errno())",
    "unmounts": SYSTEM_CALL + "if c.umount2(b'/session', 2): raise OSError(ctypes.get_errno())",
    "changes its root": "import os; os.chroot('.')",
    "reaches the network": "import socket; socket.create_connection(('127.0.0.1', {port}), 2)",
    "reaches it by a child": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import socket; "
    "socket.create_connection((\"127.0.0.1\", {port}), 2)'], capture_output=True, check=True)",
    "reaches the world": "import socket; socket.create_connection(('192.0.2.1', 80), 2)",
    "looks a name up": "import socket; socket.getaddrinfo('example.com', 80)",
    "reaches an abstract socket": "import socket; socket.socket(socket.AF_UNIX).connect('\\0{abstract}')",
    "reaches a machine's host": "import socket; socket.socket(socket.AF_VSOCK)",
    "talks to the kernel": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "talks to itself by TCP": "import socket; socket.socket()",
    "listens to packets": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "signals everyone": "import os; os.kill(-1, 0)",
    "signals this process": "import os; os.kill({pid}, 0)",
    "changes this process's limits": "import resource; resource.prlimit({pid}, resource.RLIMIT_CPU, (1, 1))",
    "reads this process's environment": "open('/proc/{pid}/environ').read()",
    "raises its priority": "import os; os.setpriority(os.PRIO_PROCESS, 0, -5)",
    "becomes root": "import os; os.setuid(0)",
    "becomes another": "import os; os.setuid(12345)",
    "raises a limit": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "allows core dumps": "import resource; resource.setrlimit(resource.RLIMIT_CORE, (1, 1))",
    "takes a large buffer": "import socket; socket.socketpair()[0].setsockopt(1, socket.SO_SNDBUF, 1 << 22)",
    "takes one with bits that the kernel drops": SYSTEM_CALL + "import socket; own, _ = socket.socketpair()\n"
    "wide = [ctypes.c_long(one | 1 << 32) for one in (1, socket.SO_SNDBUF)]\n"
    "if c.setsockopt(own.fileno(), *wide, b'\\0\\0\\x40\\0', 4): raise OSError(ctypes.get_errno(), 'refused')",
    "forces a large buffer": "import socket; socket.socketpair()[0].setsockopt(1, 32, 1 << 22)",
    "sets the host's name": "import socket; socket.sethostname('mine')",
    "sets the clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 1)",
    "names the core dumps' program": "open('/proc/sys/kernel/core_pattern', 'r+')",
    "allows user namespaces": "open('/proc/sys/user/max_user_namespaces', 'w').write('9')",
    "asks the kernel to reboot": "open('/proc/sysrq-trigger', 'w')",
    **{
        f"calls {name}": f"{SYSTEM_CALL}if c.{call} == -1: raise OSError(ctypes.get_errno(), 'refused')"
        for name, call in {
            "unshare": "unshare(0x10000000)",
            "setns": "setns(0, 0)",
            "ptrace": "ptrace(16, 1, 0, 0)",
            "memfd_create": "memfd_create(b'x', 0)",
            "shmget": "shmget(0x5ec, 1 << 20, 0o1666)",
            "msgget": "msgget(0x5ec, 0o1666)",
            "semget": "semget(0x5ec, 1, 0o1666)",
            "mq_open": "mq_open(b'/x', 0o102, 0o600, None)",
        }.items()
    },
}  # fmt: skip
"""What foreign code tries, and how; each must end in an error."""


async def test_no_try_to_get_out_succeeds(run_code: RunCode, tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    file.write_text("private")
    file.chmod(0o666)
    name = f"mediamill-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0" + name)
        abstract.listen()
        names = {"file": file, "folder": tmp_path, "root": ROOT, "home": Path.home(), "pid": os.getpid()}
        names |= {"port": server.getsockname()[1], "abstract": name}
        outputs = {what: await run_code(code.format(**names)) for what, code in FAILING.items()}
    succeeded = {what: each for what, each in outputs.items() if not each or each[-1]["type"] != "error"}
    assert not succeeded
    mistakes = ("NameError", "SyntaxError", "ModuleNotFoundError", "AttributeError")
    not_tried = {what: str(each) for what, each in outputs.items() if any(one in str(each) for one in mistakes)}
    assert not not_tried
    assert "private" not in str(outputs)
    assert file.read_text() == "private"
    assert Path(os.__file__).stat().st_size > 0


async def test_what_it_sees_is_its_own(run_code: RunCode) -> None:
    code = """
import os, resource, sys
print(sorted(os.listdir('/dev')))
print([name for name in os.listdir('/proc') if name.isdigit()])
print(os.getuid(), os.getgid(), os.getgroups(), os.uname().nodename, os.getcwd(), os.listdir())
print(resource.getrlimit(resource.RLIMIT_CORE))
print([os.readlink(f'/proc/self/fd/{name}') for name in range(3, 64) if os.path.exists(f'/proc/self/fd/{name}')])
print(open('/proc/self/status').read())
print(dict(os.environ))
"""
    (printed,) = await run_code(code)
    devices, processes, user, core, files, *rest = printed["data"].splitlines()
    assert devices == str(
        ["fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "urandom", "zero"]
    )  # fmt: skip
    assert processes == "['1', '2']"
    assert user.startswith("1000 1000 [")
    assert user.endswith("session /session []")
    assert core == "(0, 0)"
    assert "socket" not in files
    assert str(Path.home()) not in files
    status = dict(line.split(":\t", 1) for line in rest if ":\t" in line)
    assert (status["CapPrm"], status["CapEff"], status["CapAmb"]) == ("0" * 16,) * 3
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert "do-not-tell" not in printed["data"]
    for pid in ("1", "self", "2"):
        assert "do-not-tell" not in str(await run_code(f"open('/proc/{pid}/environ').read()"))


@pytest.mark.long
async def test_packages_and_the_interpreter_can_be_used(run_code: RunCode) -> None:
    code = """
import subprocess, sys, sqlite3, ssl, multiprocessing, numpy, pandas, PIL.Image
print(pandas.DataFrame({'a': [1, 2]}).a.sum(), numpy.ones(3).sum(), PIL.Image.new('L', (2, 2)).size)
print(subprocess.run('python -c "print(6*7)"; ls', shell=True, capture_output=True, text=True).stdout)
with multiprocessing.Pool(2) as pool:
    print(pool.map(abs, [-1, -2]))
"""
    assert [one["data"] for one in await run_code(code)] == ["3 3.0 (2, 2)\n42\n\n[1, 2]\n"]


async def test_what_others_have_is_out_of_sight(
    run_code: RunCode, open_sessions: SandboxSessions, session: SandboxSession
) -> None:
    await run_code("open('/session/x', 'w').write('mine'); open('/dev/shm/x', 'w'); open('/tmp/x', 'w')")
    other = await open_sessions.find_or_start(None, simulated=False)
    listing = "import os; [os.path.exists(f'{folder}/x') for folder in ('/session', '/dev/shm', '/tmp')]"
    (seen,) = await open_sessions.run(other, listing)
    assert seen["data"] == {"text/plain": "[False, False, False]"}
    await open_sessions.end(session)
    assert not Path("/dev/shm/x").exists()


ATTACKS = {
    "signals its parent": "import fcntl, os, signal, time\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, {owner})\n"
    "fcntl.fcntl(r, 10, signal.SIGKILL)\n"
    "fcntl.fcntl(r, fcntl.F_SETFL, fcntl.fcntl(r, fcntl.F_GETFL) | os.O_ASYNC)\n"
    "os.write(w, b'x')\ntime.sleep(0.2)",
    "limits its parent": "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))\n"
    "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
    "leaves its group": "import os\nif os.fork() == 0:\n os.setsid()\n os.execlp('sleep', '{marker}', '600')\n"
    "os._exit(0)",
}


@pytest.mark.long
def test_attacks_end_their_own_cell_and_nothing_else(tmp_path: Path) -> None:
    marker = f"sleep-of-{os.getpid()}"
    cells = [{"id": "before", "code": "print('alive')"}]
    owners = ("os.getppid()", "-os.getpgid(os.getppid())", "-os.getpgid(0)", "1")
    cells += [{"id": owner, "code": ATTACKS["signals its parent"].format(owner=owner)} for owner in owners]
    cells.append({"id": "limits", "code": ATTACKS["limits its parent"]})
    cells.append({"id": "leaves", "code": ATTACKS["leaves its group"].format(marker=marker)})
    cells.append({"id": "after", "code": "print('alive')"})
    source = tmp_path / "c.jsonl"
    source.write_text("\n".join(map(json.dumps, cells)))
    options = ("--provider", "local", "--allow-local-code", "--out", tmp_path / "out", "--yes", "--no-prefect")
    done = mediamill("execute", source, *options, home=tmp_path / "home")
    assert done.returncode in (0, 3), done.stderr
    rows = {row["item_id"]: row for row in read_rows(tmp_path / "out")}
    assert (rows["before"]["stdout"], rows["after"]["stdout"]) == ("alive\n", "alive\n")
    left = [process for process in psutil.process_iter(["cmdline"]) if marker in str(process.info["cmdline"])]
    assert not left


@pytest.mark.long
def test_a_killed_server_leaves_no_process(tmp_path: Path, sandbox_that_holds: Path) -> None:
    code = f"""
import asyncio
from pathlib import Path
from mediamill.tasks.local.sandbox.sandbox_process import SandboxProcess

async def main():
    sandbox = await SandboxProcess.start(Path({str(sandbox_that_holds)!r}))
    print(sandbox.init_pid, flush=True)
    await sandbox.ask({{"code": "import os; os.fork(); os.setsid() if os.getpid() > 2 else 0\\nwhile True: pass"}})

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as server:
        assert server.stdout is not None
        first = psutil.Process(int(server.stdout.readline()))
        processes = [first, *first.children(recursive=True)]
        server.send_signal(signal.SIGKILL)
        server.wait()
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert len(processes) > 1
    assert not alive
