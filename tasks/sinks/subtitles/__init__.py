"""Subtitles: a transcript's words or segments as cues, and cues as files."""
