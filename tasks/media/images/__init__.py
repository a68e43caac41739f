"""Images: read, bounded, and converted to what an endpoint accepts."""
