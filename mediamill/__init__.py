"""Batch media processing with hosted AI models: the one import name, and the public interface.

Run a job from Python, by the name of what is done::

    import mediamill

    summary = mediamill.transcribe("recordings/", budget=5, language="de")
    print(summary.done, summary.cost_usd, summary.out)

Another package adds a capability, an operation or a provider with what is exported here and nothing else; the modules
inside may move from one release to the next. In a checkout ``flows``, ``tasks`` and ``configs`` are links to the
folders beside this one; a wheel holds the folders themselves. Everything is imported as ``mediamill.tasks...``, so that
a caller's own ``tasks.py`` or ``flows/`` hides nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from mediamill.tasks.capabilities.base import Call, Capability, Estimate, Kit, Media
    from mediamill.tasks.capabilities.parameters import Option
    from mediamill.tasks.domain import JSON, Answer, Ask, Cost, Input, Item, Payload, Usage
    from mediamill.tasks.errors import (
        BadInput,
        BadReply,
        CallFailed,
        ItemError,
        MediamillError,
        NoSuchOption,
        OutBusy,
        Stop,
        StorageError,
        UsageError,
    )
    from mediamill.tasks.job import Job, load_job, make_job
    from mediamill.tasks.money.meter import Meter, Metered
    from mediamill.tasks.money.per_unit import UnitMeter
    from mediamill.tasks.money.prices import Price
    from mediamill.tasks.providers.base import BaseProvider
    from mediamill.tasks.providers.operations.base import (
        AudioOperation,
        JobOperation,
        ModelFacts,
        Operation,
        OperationConfig,
        parsed,
    )
    from mediamill.tasks.quote import quote
    from mediamill.tasks.run_job import run, run_job
    from mediamill.tasks.summary import Progress, Quote, Summary
    from mediamill.tasks.wire import (
        AudioLimits,
        Billing,
        Endpoint,
        Pack,
        Parsed,
        Poll,
        Problem,
        Provider,
        Quota,
        RateLimits,
        Reply,
        Request,
        Wire,
    )

_TASKS = "mediamill.tasks."
_MODULES = {
    "capabilities.base": ("Call", "Capability", "Estimate", "Kit", "Media"),
    "capabilities.parameters": ("Option",),
    "domain": ("JSON", "Answer", "Ask", "Cost", "Input", "Item", "Payload", "Usage"),
    "errors": (
        *("BadInput", "BadReply", "CallFailed", "ItemError", "MediamillError", "NoSuchOption", "OutBusy", "Stop"),
        *("StorageError", "UsageError"),
    ),
    "job": ("Job", "load_job", "make_job"),
    "money.meter": ("Meter", "Metered"),
    "money.per_unit": ("UnitMeter",),
    "money.prices": ("Price",),
    "providers.base": ("BaseProvider",),
    "providers.operations.base": (
        *("AudioOperation", "JobOperation", "ModelFacts", "Operation", "OperationConfig", "parsed"),
    ),
    "quote": ("quote",),
    "run_job": ("run", "run_job"),
    "summary": ("Progress", "Quote", "Summary"),
    "wire": (
        *("AudioLimits", "Billing", "Endpoint", "Pack", "Parsed", "Poll", "Problem", "Provider", "Quota"),
        *("RateLimits", "Reply", "Request", "Wire"),
    ),
}
_EXPORTS = {name: _TASKS + module for module, names in _MODULES.items() for name in names}

__all__ = [
    "JSON",
    "Answer",
    "Ask",
    "AudioLimits",
    "AudioOperation",
    "BadInput",
    "BadReply",
    "BaseProvider",
    "Billing",
    "Call",
    "CallFailed",
    "Capability",
    "Cost",
    "Endpoint",
    "Estimate",
    "Input",
    "Item",
    "ItemError",
    "Job",
    "JobOperation",
    "Kit",
    "Media",
    "MediamillError",
    "Meter",
    "Metered",
    "ModelFacts",
    "NoSuchOption",
    "Operation",
    "OperationConfig",
    "Option",
    "OutBusy",
    "Pack",
    "Parsed",
    "Payload",
    "Poll",
    "Price",
    "Problem",
    "Progress",
    "Provider",
    "Quota",
    "Quote",
    "RateLimits",
    "Reply",
    "Request",
    "Stop",
    "StorageError",
    "Summary",
    "UnitMeter",
    "Usage",
    "UsageError",
    "Wire",
    "load_job",
    "make_job",
    "parsed",
    "quote",
    "run",
    "run_job",
]


class Run(Protocol):
    """What ``mediamill.transcribe`` and its like are: :func:`run` for one capability."""

    def __call__(self, source: str | Path, **options: Any) -> Summary:
        """Do it to every item of ``source``; see :func:`run`."""
        ...


def __getattr__(name: str) -> Run:
    """An export, or the function of a capability; imported when it is first used, so that this import stays quick."""
    if name in _EXPORTS:
        found = getattr(importlib.import_module(_EXPORTS[name]), name)
        globals()[name] = found
        return found  # type: ignore[no-any-return]
    if not name.startswith("_"):
        import functools

        from mediamill.tasks import capabilities
        from mediamill.tasks.run_job import run as run_capability

        capability = name.replace("_", "-")
        if capabilities.is_known(capability):
            return functools.partial(run_capability, capability)
    raise AttributeError(f"module 'mediamill' has no attribute {name!r}")


def __dir__() -> list[str]:
    from mediamill.tasks import capabilities

    return sorted([*globals(), *_EXPORTS, *(name.replace("-", "_") for name in capabilities.names())])
