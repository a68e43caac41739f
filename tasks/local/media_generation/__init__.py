"""Simulated images and videos, rendered when they are downloaded, and their jobs."""
