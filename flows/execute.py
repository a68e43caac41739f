"""The flow that runs code."""

from mediamill.flows.forms import capability_flow

execute = capability_flow("execute")
