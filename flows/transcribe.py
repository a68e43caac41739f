"""The flow that transcribes recordings."""

from mediamill.flows.prefect_runtime.flow_factory import capability_flow

transcribe = capability_flow("transcribe")
