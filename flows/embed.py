"""The flow that embeds texts."""

from mediamill.flows.prefect_runtime.flow_factory import capability_flow

embed = capability_flow("embed")
