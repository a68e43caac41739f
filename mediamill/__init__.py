"""Batch media processing with hosted AI models: the one import name, and the public interface.

Run a job from Python, by the name of its capability::

    import mediamill

    run = mediamill.transcribe("recordings/", budget=5, language="de")
    run.results[["item_id", "text", "cost_usd"]]

:mod:`mediamill.aio` has the same functions to be awaited. Another package adds a capability, an operation or a provider
with the names in :mod:`mediamill.interface` alone, which it imports from here; the other modules may change from one
release to the next. In a checkout ``flows``, ``tasks`` and ``configs`` are links to the folders beside this one; a
wheel holds the folders themselves. Everything is imported as ``mediamill.tasks...``, so that a caller's own
``tasks.py`` or ``flows/`` cannot hide it.
"""

from __future__ import annotations

import sys as _sys
from typing import TYPE_CHECKING, Any

if _sys.platform != "win32":  # where nothing below can be imported, and the command line says so
    from mediamill.tasks.system.telemetry import turn_off_telemetry as _turn_off_telemetry

    _turn_off_telemetry()

if TYPE_CHECKING:
    from mediamill import aio as aio
    from mediamill.capability_functions import *  # noqa: F403 (a stub alone: the functions are made when they are used)
    from mediamill.interface import *  # noqa: F403 (its __all__ is the public interface)

else:  # hidden from type checkers, so that they report unknown names

    def __getattr__(name: str) -> Any:
        """A name of the interface or the function of a capability, imported at its first use."""
        if not name.startswith("_") and name not in ("flows", "tasks", "configs", "interface", "aio"):
            from mediamill.tasks import capabilities

            capability = name.replace("_", "-")
            if capabilities.is_known(capability):
                from mediamill.tasks.python.signatures import make_function

                return make_function(capability)
            from mediamill import interface

            if name in interface.__all__:
                return getattr(interface, name)
        elif name == "aio":
            import importlib

            return importlib.import_module("mediamill.aio")
        raise AttributeError(f"module 'mediamill' has no attribute {name!r}")

    def __dir__() -> list[str]:
        from mediamill import interface
        from mediamill.tasks import capabilities

        functions = (name.replace("-", "_") for name in capabilities.list_names())
        return sorted([*globals(), *interface.__all__, *functions, "aio"])
