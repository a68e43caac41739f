"""The flow that captions pictures."""

from mediamill.flows.prefect_runtime.flow_factory import capability_flow

caption = capability_flow("caption")
