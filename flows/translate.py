"""The flow that translates recordings."""

from flows.forms import capability_flow

translate = capability_flow("translate")
