"""The flow that makes videos."""

from flows.forms import capability_flow

generate_video = capability_flow("generate-video")
