"""Runs as Prefect flow runs: what Prefect shows of them, and how that is kept correct."""
