"""The resolver that stands between aiohttp's connector and the names in users' URLs."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

if TYPE_CHECKING:
    from mediamill.tasks.calls.ssrf_guard import Guard


class GuardedResolver(AbstractResolver):
    """Asks the system's resolver once a connection and lets the guard see every address it names.

    The connector connects to the very list returned here, so a name that changes between check and
    connection has nothing to change.
    """

    def __init__(self, guard: Guard, inner: AbstractResolver | None = None) -> None:
        self._guard = guard
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of ``host``.

        Raises:
            Forbidden: when one of them may not be reached.
        """
        found = await self._inner.resolve(host, port, family)
        self._guard.admit(host, port, [result["host"] for result in found])
        return found

    async def close(self) -> None:
        """Close the resolver beneath."""
        await self._inner.close()
