"""The flow that embeds texts."""

from mediamill.flows.forms import capability_flow

embed = capability_flow("embed")
