"""The flow that captions images."""

from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow

caption = make_capability_flow("caption")
