"""The flow that reranks documents."""

from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow

rerank = make_capability_flow("rerank")
