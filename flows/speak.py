"""The flow that speaks texts."""

from mediamill.flows.prefect_runtime.flow_factory import capability_flow

speak = capability_flow("speak")
