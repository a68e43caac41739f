"""The flow that reads the text in images."""

from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow

ocr = make_capability_flow("ocr")
