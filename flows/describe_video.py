"""The flow that describes videos."""

from mediamill.flows.prefect_runtime.flow_factory import capability_flow

describe_video = capability_flow("describe-video")
