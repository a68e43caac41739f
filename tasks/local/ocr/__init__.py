"""The embedded engine that reads text in images."""
