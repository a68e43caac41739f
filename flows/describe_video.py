"""The flow that describes videos."""

from mediamill.flows.forms import capability_flow

describe_video = capability_flow("describe-video")
