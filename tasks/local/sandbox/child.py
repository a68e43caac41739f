"""The process in which foreign code runs: it reads files and cells as lines of JSON, and answers each with one line.

bubblewrap starts this file alone, with the limits as JSON in its only argument: it imports nothing but the standard
library, because the package may lie where foreign code must not look.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import json
import linecache
import os
import resource
import site
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

_MIME_BY_METHOD = {
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_svg_": "image/svg+xml",
    "_repr_html_": "text/html",
}
_MAX_REPR_CHARS = 100_000
_SHELL_NAME = "__run_shell__"
_SCRATCH = "/tmp"  # noqa: S108 - inside the sandbox


class CellRunner:
    """Runs cells in one namespace, one after another."""

    def __init__(self, max_output_bytes: int) -> None:
        self._max_output_bytes = max_output_bytes
        self._n_cells = 0
        self._displayed: list[dict[str, Any]] = []
        self._namespace: dict[str, Any] = {
            "__name__": "__main__",
            "__builtins__": __builtins__,
            "display": self._display,
            _SHELL_NAME: _run_shell,
        }

    def run(self, code: str) -> list[dict[str, Any]]:
        """Run a cell; its outputs in the order printed, displayed, returned or failed."""
        self._n_cells += 1
        self._displayed = []
        streams: dict[str, str] = {}
        try:
            with self._capture_output(streams):
                results = self._run_captured(code)
        except OSError as error:  # the session's folders are full: there is no place for what the cell prints
            results = [{"type": "error", "data": f"OSError: what the cell prints cannot be kept: {error.strerror}"}]
        printed = [{"type": name, "data": text} for name, text in streams.items() if text]
        return [*printed, *self._displayed, *results]

    def _run_captured(self, code: str) -> list[dict[str, Any]]:
        """Run a cell whose streams are captured; its result or its error."""
        try:
            value = self._evaluate(code, f"<cell {self._n_cells}>")
            self._collect_figures()
            return [] if value is None else [{"type": "execute_result", "data": _to_rich_output(value)}]
        except SystemExit as stop:
            return [] if stop.code in (None, 0) else [{"type": "error", "data": f"SystemExit: {stop.code}"}]
        except BaseException as error:  # noqa: BLE001 - foreign code may raise anything
            return [{"type": "error", "data": _format_traceback(error)}]

    def _evaluate(self, code: str, name: str) -> Any:
        """Run a cell; return the value of its last statement when that is an expression."""
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        tree = _parse_cell(code, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), self._namespace)  # noqa: S102 - that is what this process is for
        if last is None:
            return None
        assert isinstance(last, ast.Expr)
        return eval(compile(ast.Expression(last.value), name, "eval"), self._namespace)  # noqa: S307

    def _display(self, *values: Any) -> None:
        self._displayed += [{"type": "display_data", "data": _to_rich_output(value)} for value in values]

    def _collect_figures(self) -> None:
        """Display the matplotlib figures that are open."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        import io

        for number in pyplot.get_fignums():
            buffer = io.BytesIO()
            pyplot.figure(number).savefig(buffer, format="png")
            self._displayed.append({"type": "display_data", "data": {"image/png": _encode_base64(buffer.getvalue())}})
        pyplot.close("all")

    @contextlib.contextmanager
    def _capture_output(self, streams: dict[str, str]) -> Iterator[None]:
        """Capture what any process of the cell writes to file descriptors 1 and 2, into ``streams``."""
        files: dict[str, IO[bytes]] = {}
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            files[name] = _open_scratch_file()
            os.dup2(files[name].fileno(), descriptor)
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    stream.flush()
            for name, file in files.items():
                file.seek(0)
                data = file.read(self._max_output_bytes + 1)
                text = data[: self._max_output_bytes].decode("utf-8", "replace")
                streams[name] = text + ("\n... cut off" if len(data) > self._max_output_bytes else "")
                file.close()
            _close_standard_streams()


def _parse_cell(code: str, name: str) -> ast.Module:
    """A cell's syntax tree; lines that begin with ``!`` are commands, as in notebooks."""
    try:
        return ast.parse(code, name)
    except SyntaxError:
        lines = code.split("\n")
        if not any(line.lstrip().startswith("!") for line in lines):
            raise
        return ast.parse("\n".join(map(_to_python_line, lines)), name)


def _to_python_line(line: str) -> str:
    command = line.lstrip()
    if not command.startswith("!"):
        return line
    return f"{line[: len(line) - len(command)]}{_SHELL_NAME}({command[1:].strip()!r})"


def _run_shell(command: str) -> None:
    """Run a command; its output is the cell's. Packages cannot be installed, for there is no network."""
    words = command.split()
    if "pip" in words[:3]:
        note = "not run: the interpreter has no network; packages of this machine can be imported"
        sys.stdout.write(f"{command}: {note}\n")
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    interpreter = f"{sys.executable} " if words[:1] in (["python"], ["python3"]) else ""
    command = interpreter + command.partition(" ")[2] if interpreter else command
    subprocess.run(command, shell=True, check=False)  # noqa: S602 - the whole cell is foreign code in a sandbox


def _to_rich_output(value: Any) -> dict[str, str]:
    """A value by MIME type: as text, and as an image or HTML when it has such a representation."""
    fields = {}
    for method, mime in _MIME_BY_METHOD.items():
        with contextlib.suppress(Exception):
            rich = getattr(value, method)()
            if rich is not None:
                fields[mime] = _encode_base64(rich) if isinstance(rich, bytes) else str(rich)
    try:
        fields["text/plain"] = repr(value)[:_MAX_REPR_CHARS]
    except Exception as error:  # noqa: BLE001 - a value whose repr fails is still a value
        fields["text/plain"] = f"<{type(value).__name__} without a repr: {error}>"
    return fields


def _encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _format_traceback(error: BaseException) -> str:
    """The traceback, without this file's own lines."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__]
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(own)] if own else []
    return "".join([*lines, *traceback.format_exception_only(error)]).rstrip()


def _open_scratch_file() -> IO[bytes]:
    """Open a file without a name, in memory."""
    if sys.platform != "linux":
        raise OSError("bubblewrap runs on Linux only")
    return os.fdopen(os.open(_SCRATCH, os.O_RDWR | os.O_TMPFILE, 0o600), "w+b")


def _close_standard_streams() -> None:
    """Between cells nobody reads them; a background process must not fill what nobody empties."""
    empty = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(empty, descriptor)
    os.close(empty)


def write_files(files: list[list[str]]) -> str | None:
    """Write files, each a relative path and its content in base64; the reason why one cannot be written, or None."""
    for name, content in files:
        try:
            path = Path.cwd() / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # a link or a pipe that foreign code left there
            path.write_bytes(base64.b64decode(content))
        except OSError as error:
            return f"the file {name[:60]!r}: {error.strerror}"
    return None


def set_limits(limits: dict[str, int]) -> None:
    """Limit this process and what it starts, for good: hard limits, which need a capability to be raised."""
    Path("/proc/self/oom_score_adj").write_text("1000")  # a machine without memory ends this process first
    for name, value in limits.items():
        number = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(number)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (bound, bound))


def become(user: int) -> None:
    """Become an ordinary user for good, who can make no namespaces; the capabilities go with the administrator."""
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def main() -> int:
    """Serve files and cells until the other end closes."""
    start = json.loads(sys.argv[1])
    os.closerange(3, 256)  # what bubblewrap was started with
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    _close_standard_streams()
    site.setquit()  # with -S the interpreter leaves out packages beside those of mediamill, and these names
    site.sethelper()
    set_limits(start["limits"])
    if start["user"] is not None:
        become(start["user"])
    replies.write(b'{"ready": true}\n')
    cells, own_pid = CellRunner(start["output"]), os.getpid()
    for line in requests:
        request = json.loads(line)
        if "files" in request:
            reply: dict[str, Any] = {"refused": write_files(request["files"])}
        else:
            reply = {"outputs": cells.run(request["code"])}
        if os.getpid() != own_pid:  # the code forked and its child came back; the parent answers
            os._exit(0)
        replies.write(json.dumps(reply, ensure_ascii=False).encode("utf-8", "replace") + b"\n")  # "?" for a surrogate
    return 0


if __name__ == "__main__":
    sys.exit(main())
