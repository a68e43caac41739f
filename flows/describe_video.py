"""The flow that describes videos."""

from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow

describe_video = make_capability_flow("describe-video")
