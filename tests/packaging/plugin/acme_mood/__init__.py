"""Acme tells the mood of texts."""

from pathlib import Path

CONFIG = Path(__file__).with_name("acme.yaml")
"""How Acme is reached and what it can do."""
