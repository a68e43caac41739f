"""The flow that makes pictures."""

from mediamill.flows.forms import capability_flow

generate_image = capability_flow("generate-image")
