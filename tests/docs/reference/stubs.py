"""The stub files with the signature of every capability's function, for editors and type checkers."""

from __future__ import annotations

from mediamill.tasks import capabilities
from mediamill.tasks.python.signatures import list_arguments

_HEAD = """\
# Made from the code by `uv run python -m tests.docs.reference`: change the code, not this file.
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

"""
_IMPORTS = """\
from mediamill.tasks.python.run_handle import RunHandle
from mediamill.tasks.summary import Progress, Summary
"""
_ASYNC_IMPORTS = "from mediamill.tasks.python.functions import quote_async, run_async\n"
_ASYNC_NAMES = "run = run_async\nquote = quote_async\n"


def make_functions_stub() -> str:
    """``mediamill.transcribe`` and so on."""
    return _HEAD + _IMPORTS + "".join(_format_function("def", name) for name in capabilities.BUILT_IN)


def make_aio_stub() -> str:
    """``mediamill.aio``."""
    functions = "".join(_format_function("async def", name) for name in capabilities.BUILT_IN)
    return f"{_HEAD}{_ASYNC_IMPORTS}{_IMPORTS}\n{_ASYNC_NAMES}{functions}"


def _format_function(keyword: str, name: str) -> str:
    arguments = "".join(f"    {a.name}: {a.type} = {a.default},\n" for a in list_arguments(name))
    head = f"{keyword} {name.replace('-', '_')}(\n    source: str | Path,\n    *,\n{arguments}) -> RunHandle[Summary]:"
    return f'\n{head}\n    """{capabilities.get_summary(name)}"""\n'
