"""The flow that answers prompts."""

from mediamill.flows.prefect_runtime.flow_factory import capability_flow

complete = capability_flow("complete")
