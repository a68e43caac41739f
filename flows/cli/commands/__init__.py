"""The commands, one file each; the command line calls each file's ``command``."""
