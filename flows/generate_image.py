"""The flow that makes pictures."""

from mediamill.flows.prefect_runtime.flow_factory import capability_flow

generate_image = capability_flow("generate-image")
