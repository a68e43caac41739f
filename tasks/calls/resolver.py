"""The resolver through which aiohttp's connector resolves the names in users' URLs."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver


class GuardedResolver(AbstractResolver):
    """Resolves a name once for each connection and lets the guard check every address.

    The connector connects to the very list that is returned here, so a name whose addresses change between check and
    connection gains nothing.

    Args:
        check_addresses: raises where one of a host's addresses may not be reached.
        system_resolver: resolves the names; aiohttp's threaded resolver by default.
    """

    def __init__(
        self,
        check_addresses: Callable[[str, int, Sequence[str]], None],
        system_resolver: AbstractResolver | None = None,
    ) -> None:
        self._check_addresses = check_addresses
        self._system_resolver = system_resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of ``host``.

        Raises:
            ForbiddenAddress: when one of them may not be reached.
        """
        addresses = await self._system_resolver.resolve(host, port, family)
        self._check_addresses(host, port, [result["host"] for result in addresses])
        return addresses

    async def close(self) -> None:
        """Close the system's resolver."""
        await self._system_resolver.close()
