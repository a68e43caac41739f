"""WHAT is done to an item, one file each."""
