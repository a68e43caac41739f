"""The flow that makes videos."""

from mediamill.flows.prefect_runtime.flow_factory import capability_flow

generate_video = capability_flow("generate-video")
