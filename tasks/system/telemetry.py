"""Libraries that report their use to their makers are told not to, here and in every process started from here."""

from __future__ import annotations

import os

OFF = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
"""What turns it off: for Prefect's client and others, Hugging Face's hub, ONNX Runtime, Prefect's server."""


def turn_off_telemetry() -> None:
    """Set the variables, except those that are set already; it comes before any of the libraries is imported."""
    for name, value in OFF.items():
        os.environ.setdefault(name, value)
