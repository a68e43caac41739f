"""The flow that completes prompts."""

from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow

complete = make_capability_flow("complete")
