"""The command line and the Prefect flows."""
