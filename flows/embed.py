"""The flow that embeds texts."""

from flows.forms import capability_flow

embed = capability_flow("embed")
