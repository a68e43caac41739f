"""The flow that transcribes recordings."""

from flows.forms import capability_flow

transcribe = capability_flow("transcribe")
