"""Data, not code: providers, prices and example jobs."""

from pathlib import Path

CONFIGS_FOLDER = Path(__file__).parent
"""The folder of the configuration files, in a checkout and in an installed package."""
