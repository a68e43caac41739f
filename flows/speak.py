"""The flow that speaks texts."""

from flows.forms import capability_flow

speak = capability_flow("speak")
