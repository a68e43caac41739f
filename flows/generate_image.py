"""The flow that generates images."""

from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow

generate_image = make_capability_flow("generate-image")
