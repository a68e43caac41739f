"""The flow that translates recordings."""

from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow

translate = make_capability_flow("translate")
