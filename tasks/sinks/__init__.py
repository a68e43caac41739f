"""Parquet parts and the run record."""
