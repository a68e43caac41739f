"""The command line; ``commands/`` has one file for each command that is not a capability's."""

import sys

try:
    import mediamill.tasks  # noqa: F401
except ImportError as error:  # this system is not supported: one line, and no traceback
    sys.stderr.write(f"mediamill: {error}\n")
    raise SystemExit(2) from None
