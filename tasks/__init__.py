"""How it is done: plain functions and the one engine that runs them."""

import sys

if sys.platform == "win32":  # before any import of fcntl, resource or os functions that Windows lacks
    raise ImportError("mediamill runs on Linux and macOS; on Windows run it in WSL, the Windows Subsystem for Linux")
