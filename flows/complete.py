"""The flow that answers prompts."""

from flows.forms import capability_flow

complete = capability_flow("complete")
