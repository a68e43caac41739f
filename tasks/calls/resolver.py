"""The resolver that stands between aiohttp's connector and the names in users' URLs."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver


class GuardedResolver(AbstractResolver):
    """Asks the system's resolver once a connection and lets the guard see every address it names.

    The connector connects to the very list returned here, so a name that changes between check and
    connection has nothing to change.

    Args:
        admit: raises where one of a host's addresses may not be reached.
        inner: who is asked; the system's resolver unless another is given.
    """

    def __init__(
        self, check_addresses: Callable[[str, int, Sequence[str]], None], inner: AbstractResolver | None = None
    ) -> None:
        self._check_addresses = check_addresses
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of ``host``.

        Raises:
            Forbidden: when one of them may not be reached.
        """
        addresses = await self._inner.resolve(host, port, family)
        self._check_addresses(host, port, [result["host"] for result in addresses])
        return addresses

    async def close(self) -> None:
        """Close the resolver beneath."""
        await self._inner.close()
