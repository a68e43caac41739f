"""Fault rules, and the broken replies they cause."""
