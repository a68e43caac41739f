"""The flow that runs code."""

from flows.forms import capability_flow

execute = capability_flow("execute")
