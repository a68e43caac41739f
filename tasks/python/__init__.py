"""What Python programs and notebooks call: runs, quotes, and the OUTs that are there."""
