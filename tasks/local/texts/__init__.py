"""Texts: ranked, embedded, and run as code."""
