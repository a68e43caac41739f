"""The flow that runs code."""

from mediamill.flows.prefect_runtime.flow_factory import capability_flow

execute = capability_flow("execute")
