"""The flow that captions pictures."""

from mediamill.flows.forms import capability_flow

caption = capability_flow("caption")
