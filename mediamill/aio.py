"""The same functions for programs with an event loop: ``await mediamill.aio.transcribe("recordings/")``.

They work in a thread of their own, so the loop's other tasks go on; cancelling the task that awaits one stops its run.
The types are in ``aio.pyi``.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """``run``, ``quote`` or the function of a capability."""
    if not name.startswith("_"):
        from mediamill.tasks import capabilities
        from mediamill.tasks.python import functions, signatures

        if name in ("run", "quote"):
            return getattr(functions, f"{name}_async")
        capability = name.replace("_", "-")
        if capabilities.is_known(capability):
            return signatures.make_async_function(capability)
    raise AttributeError(f"module 'mediamill.aio' has no attribute {name!r}")


def __dir__() -> list[str]:
    from mediamill.tasks import capabilities

    return ["quote", "run", *sorted(name.replace("-", "_") for name in capabilities.list_names())]
