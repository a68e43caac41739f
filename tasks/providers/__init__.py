"""WHO does it, one file each."""
