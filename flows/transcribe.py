"""The flow that transcribes recordings."""

from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow

transcribe = make_capability_flow("transcribe")
