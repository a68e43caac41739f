"""Faults on demand: which requests break, and how."""
