"""The flow that generates videos."""

from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow

generate_video = make_capability_flow("generate-video")
