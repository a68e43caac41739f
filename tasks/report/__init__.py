"""The HTML page and the cost tables."""
