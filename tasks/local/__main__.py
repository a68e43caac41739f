"""``python -m mediamill.tasks.local``: the server in a process of its own.

Worker processes import this module again, so nothing heavy is imported at its top.
"""

import sys

if __name__ == "__main__":
    from mediamill.tasks.local.server.process import main

    sys.exit(main(sys.argv[1:]))
