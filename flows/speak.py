"""The flow that speaks texts."""

from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow

speak = make_capability_flow("speak")
