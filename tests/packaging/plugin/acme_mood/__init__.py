"""Acme detects the mood of texts."""

from pathlib import Path

CONFIG = Path(__file__).with_name("acme.yaml")
"""Acme's configuration."""
