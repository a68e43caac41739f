"""Runs as flow runs of Prefect: what it sees of them, and how that is kept true."""
