"""The command line; ``commands/`` has one file for each command that is not a capability's."""
