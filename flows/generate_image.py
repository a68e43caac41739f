"""The flow that makes pictures."""

from flows.forms import capability_flow

generate_image = capability_flow("generate-image")
