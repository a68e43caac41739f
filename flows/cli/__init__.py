"""The command line: one file an idea, and in ``commands/`` one file a command that is no capability's own."""
