"""Every capability's flow by its name, including the capabilities of other packages.

``mediamill.flows.capability_flows.NAME`` is an entrypoint that can be deployed; a hyphen in a name is an underscore.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediamill.tasks import capabilities

if TYPE_CHECKING:
    from mediamill.flows.prefect_runtime.job_flow import JobFlow


def __getattr__(name: str) -> JobFlow:
    from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow

    for capability in capabilities.list_names():
        if capability.replace("-", "_") == name:
            return make_capability_flow(capability)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
