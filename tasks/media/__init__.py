"""Audio: probe, bound, convert."""
