"""Data, not code: providers, prices and example jobs."""

from pathlib import Path

FOLDER = Path(__file__).parent
"""Where the configuration lies, also when installed."""
