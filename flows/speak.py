"""The flow that speaks texts."""

from mediamill.flows.forms import capability_flow

speak = capability_flow("speak")
