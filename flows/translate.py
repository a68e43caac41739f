"""The flow that translates recordings."""

from mediamill.flows.forms import capability_flow

translate = capability_flow("translate")
