"""The flow that runs code."""

from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow

execute = make_capability_flow("execute")
