"""The embedded text-to-speech engines."""
