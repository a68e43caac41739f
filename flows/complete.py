"""The flow that answers prompts."""

from mediamill.flows.forms import capability_flow

complete = capability_flow("complete")
