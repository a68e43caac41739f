"""Batch media processing with hosted AI models: the one import name, and the public interface.

Run a job from Python, by the name of its capability::

    import mediamill

    summary = mediamill.transcribe("recordings/", budget=5, language="de")
    print(summary.done, summary.cost_usd, summary.out)

Another package adds a capability, an operation or a provider with the names in :mod:`mediamill.interface` alone, which
it imports from here; the other modules may change from one release to the next. In a checkout ``flows``,
``tasks`` and ``configs`` are links to the folders beside this one; a wheel holds the folders themselves. Everything is
imported as ``mediamill.tasks...``, so that a caller's own ``tasks.py`` or ``flows/`` cannot hide it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from mediamill.interface import *  # noqa: F403 (its __all__ is the public interface)
    from mediamill.tasks.summary import Summary

    class CapabilityFunction(Protocol):
        """:func:`mediamill.run` for one capability; one of another package is run by that function."""

        def __call__(self, source: str | Path, **options: Any) -> Summary:
            """Run the capability on every item of ``source``."""
            ...

    caption: CapabilityFunction
    complete: CapabilityFunction
    describe_video: CapabilityFunction
    embed: CapabilityFunction
    execute: CapabilityFunction
    generate_image: CapabilityFunction
    generate_video: CapabilityFunction
    rerank: CapabilityFunction
    speak: CapabilityFunction
    transcribe: CapabilityFunction
    translate: CapabilityFunction

else:  # hidden from type checkers, so that they report unknown names

    def __getattr__(name: str) -> Any:
        """A name of the interface or the function of a capability, imported at its first use."""
        if not name.startswith("_") and name not in ("flows", "tasks", "configs", "interface"):
            import functools

            from mediamill import interface
            from mediamill.tasks import capabilities

            if name in interface.__all__:
                return getattr(interface, name)
            capability = name.replace("_", "-")
            if capabilities.is_known(capability):
                return functools.partial(interface.run, capability)
        raise AttributeError(f"module 'mediamill' has no attribute {name!r}")

    def __dir__() -> list[str]:
        from mediamill import interface
        from mediamill.tasks import capabilities

        functions = (name.replace("-", "_") for name in capabilities.list_names())
        return sorted([*globals(), *interface.__all__, *functions])
