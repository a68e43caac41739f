"""The flow that ranks documents."""

from mediamill.flows.prefect_runtime.flow_factory import capability_flow

rerank = capability_flow("rerank")
