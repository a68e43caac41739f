"""The flow that translates recordings."""

from mediamill.flows.prefect_runtime.flow_factory import capability_flow

translate = capability_flow("translate")
