"""Error replies: their bodies, what they mean, and content refusals."""
