"""The flow that makes videos."""

from mediamill.flows.forms import capability_flow

generate_video = capability_flow("generate-video")
