"""The flow that transcribes recordings."""

from mediamill.flows.forms import capability_flow

transcribe = capability_flow("transcribe")
