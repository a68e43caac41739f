"""The flow that ranks documents."""

from flows.forms import capability_flow

rerank = capability_flow("rerank")
