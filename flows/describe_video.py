"""The flow that describes videos."""

from flows.forms import capability_flow

describe_video = capability_flow("describe-video")
