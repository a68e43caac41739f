"""The flow that ranks documents."""

from mediamill.flows.forms import capability_flow

rerank = capability_flow("rerank")
