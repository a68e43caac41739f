"""The flow that captions pictures."""

from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow

caption = make_capability_flow("caption")
