"""The flow that answers prompts."""

from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow

complete = make_capability_flow("complete")
