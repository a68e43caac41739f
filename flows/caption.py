"""The flow that captions pictures."""

from flows.forms import capability_flow

caption = capability_flow("caption")
