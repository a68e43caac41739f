"""The flow that embeds texts."""

from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow

embed = make_capability_flow("embed")
