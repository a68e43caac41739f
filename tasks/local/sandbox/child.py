"""The process in which foreign code runs: it reads cells as lines of JSON and writes their outputs as lines of JSON.

``python -m mediamill.tasks.local.sandbox.child`` in an empty folder, with the limits as JSON in its only argument.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import json
import linecache
import os
import site
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mediamill.tasks.local.sandbox.lockdown import LockdownError, lock_down

_MIME_BY_METHOD = {
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_svg_": "image/svg+xml",
    "_repr_html_": "text/html",
}
_MAX_REPR_CHARS = 100_000


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
        }

    def run(self, code: str) -> list[dict[str, Any]]:
        """Run a cell; its outputs in the order printed, displayed, returned or failed."""
        self._n_cells += 1
        self._displayed = []
        results: list[dict[str, Any]] = []
        streams: dict[str, str] = {}
        with self._capture_output(streams):
            try:
                value = self._evaluate(code, f"<cell {self._n_cells}>")
                self._collect_figures()
                if value is not None:
                    results.append({"type": "execute_result", "data": _to_rich_output(value)})
            except SystemExit as stop:
                if stop.code not in (None, 0):
                    results.append({"type": "error", "data": f"SystemExit: {stop.code}"})
            except BaseException as error:  # noqa: BLE001 - foreign code may raise anything
                results.append({"type": "error", "data": _format_traceback(error)})
        printed = [{"type": name, "data": text} for name, text in streams.items() if text]
        return [*printed, *self._displayed, *results]

    def _evaluate(self, code: str, name: str) -> Any:
        """Run a cell; return the value of its last statement when that is an expression."""
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        tree = ast.parse(code, name)
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
        files = {}
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            files[name] = Path(f".{name}").open("w+b")  # noqa: SIM115
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
                Path(f".{name}").unlink(missing_ok=True)


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


def main() -> int:
    """Serve cells until the other end closes."""
    limits = json.loads(sys.argv[1])
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    empty = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(empty, descriptor)
    output = limits.pop("output")
    root = os.environ.pop("PYTHONPATH", "")
    if root not in site.getsitepackages():  # a checkout contains more than packages
        sys.path[:] = [path for path in sys.path if path != root]
    try:
        lock_down(Path.cwd(), **limits)
    except LockdownError as error:
        replies.write(json.dumps({"refused": str(error)}).encode() + b"\n")
        return 1
    replies.write(b'{"ready": true}\n')
    cells, own_pid = CellRunner(output), os.getpid()
    for line in requests:
        outputs = cells.run(json.loads(line)["code"])
        if os.getpid() != own_pid:  # the code forked and its child came back; the parent answers
            os._exit(0)
        replies.write(json.dumps({"outputs": outputs}).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
