"""mediamill serve: run the built-in provider as a server."""

from __future__ import annotations

from mediamill.tasks.local.server.options import command

__all__ = ["command"]
