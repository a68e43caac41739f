"""Data, not code: providers, prices and example jobs."""
