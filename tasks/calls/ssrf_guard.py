"""The SSRF guard for URLs that users give: none reaches a private network, by spelling, redirect or DNS rebinding.

There are three checks, each enough by itself for what it can see: the URL before anything happens, every address a
name resolves to, and the socket's own address when it is created. The connection goes to exactly the addresses that
were checked, because the connector uses the resolver that checks them.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx

from mediamill.tasks.errors import BadInput

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_BLOCKED_V4 = tuple(
    ipaddress.IPv4Network(n)
    for n in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # Azure's platform address: public by number, metadata by use
    )
)  # fmt: skip
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_BLOCKED_V6 = tuple(
    ipaddress.IPv6Network(n)
    # Special assignments (Teredo among them), documentation, 6to4: none of these hosts media.
    for n in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_HOST_PORT = re.compile(r"(?P<host>\[[^\]]+\]|[^:]+)(?::(?P<port>\d{1,5}))?")
_PRIVATE_DOMAINS = (".localhost", ".local", ".internal", ".home.arpa")
"""Domains that are reserved for one machine or one network: RFC 6761, 6762, 8375, and ICANN for ``internal``."""
_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")


class ForbiddenAddress(OSError):
    """Users' URLs may not reach this address; raised where a connection would be made to it."""


def is_public(address_text: str) -> bool:
    """True for an address of the public internet, after unwrapping mapped and NAT64 forms."""
    try:
        address: Address = ipaddress.ip_address(address_text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            address = address.ipv4_mapped
        elif address in _NAT64:
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in net for net in _BLOCKED_V4)
    return address in _PUBLIC_V6 and not any(address in net for net in _BLOCKED_V6)


def _is_private_name(host: str) -> bool:
    """True for a name that only a private network has, which tells before it is looked up, here or by a provider."""
    return f".{host}".endswith(_PRIVATE_DOMAINS)


class SsrfGuard:
    """What users' URLs may reach: the public internet, and the ``allow_hosts`` that a setting names.

    Args:
        allow_hosts: ``host`` allows that name or address on every port, ``host:port`` on that port only.
    """

    def __init__(self, allow_hosts: Sequence[str] = ()) -> None:
        self._allowed = {entry for text in allow_hosts if (entry := _parse_allowed_host(text))}
        self._pinned_addresses: set[tuple[str, int]] = set()

    def check_url(self, url: str) -> str:
        """Check the text of a URL; returns the URL without its fragment.

        Raises:
            BadInput: names what is wrong with it.
        """
        parts = self._split_url(url)
        host, port = _normalize_host(parts), parts.port or (443 if parts.scheme == "https" else 80)
        address = _parse_address(host)
        if self.allows(host, port):
            if address:
                self._pinned_addresses.add((address, port))
        elif not is_public(address) if address else _is_private_name(host):
            raise forbidden_url_error(host)
        return parts._replace(fragment="").geturl()

    def check_redirect(self, url: str, location: str) -> str:
        """Check where a redirect from ``url`` leads; returns that URL.

        Raises:
            BadInput: when that URL is not allowed, or the redirect leads from https to http.
        """
        try:
            joined = urljoin(url, location.strip())
        except ValueError:
            raise BadInput("the URL redirects to something that is no URL", kind="bad_url") from None
        target = self.check_url(joined)
        if url.startswith("https:") and not target.startswith("https:"):
            raise BadInput("the URL redirects from https to http", kind="bad_url")
        return target

    def allows(self, host: str, port: int) -> bool:
        """True when ``allow_hosts`` names this host."""
        return (host, None) in self._allowed or (host, port) in self._allowed

    def check_addresses(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """Check every address of ``host``, before a connection is made to any of them.

        Raises:
            ForbiddenAddress: when one of them is not public and ``allow_hosts`` does not name the host.
        """
        if self.allows(host.rstrip(".").lower(), port):
            self._pinned_addresses.update((address.partition("%")[0], port) for address in addresses)
        elif not all(is_public(address) for address in addresses):
            raise ForbiddenAddress(f"{host} is not on the public internet")

    def create_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for exactly this address: the last check, whatever the spelling of the URL.

        Raises:
            ForbiddenAddress: when the address was not allowed.
        """
        family, kind, proto, _, address = info
        host, port = str(address[0]), int(address[1])
        if not is_public(host) and (host.partition("%")[0], port) not in self._pinned_addresses:
            raise ForbiddenAddress(f"{host} is not on the public internet")
        return socket.socket(family, kind, proto)

    def create_resolver(self, inner: AbstractResolver | None = None) -> AbstractResolver:
        """A resolver for aiohttp's connector that checks every address it finds with ``inner``."""
        from mediamill.tasks.calls.resolver import GuardedResolver

        return GuardedResolver(self.check_addresses, inner)

    @staticmethod
    def _split_url(url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            port_is_valid = parts.port != 0
            httpx.URL(url)
        except (ValueError, httpx.InvalidURL):
            raise BadInput("not a valid URL", kind="bad_url") from None
        if parts.scheme not in ("http", "https"):
            raise BadInput("only http and https URLs can be fetched", kind="bad_url")
        if _CONTROL.search(url) or not port_is_valid or not parts.hostname:
            raise BadInput("not a valid URL", kind="bad_url", hint="write spaces as %20")
        if "@" in parts.netloc:
            raise BadInput(
                "the URL carries a user name or password", kind="bad_url", hint="use a signed URL or a local file"
            )
        return parts


def _normalize_host(parts: SplitResult) -> str:
    return (parts.hostname or "").rstrip(".").lower()


def _parse_address(host: str) -> str | None:
    """The address that a host is written as; None for a name.

    Raises:
        BadInput: for spellings that only some programs read as an address: 127.1, 0x7f.1, 2130706433.
    """
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        socket.inet_aton(host)
    except (OSError, UnicodeError):
        return None
    raise BadInput("the URL's host is an oddly written address", kind="bad_url", hint="write it as a.b.c.d")


def _parse_allowed_host(text: str) -> tuple[str, int | None] | None:
    text = text.strip().lower()
    try:
        return str(ipaddress.ip_address(text)), None
    except ValueError:
        match = _HOST_PORT.fullmatch(text)
    if not match:
        return None
    return match["host"].strip("[]").rstrip("."), int(match["port"]) if match["port"] else None


def forbidden_url_error(host: str) -> BadInput:
    """The error for a host that :class:`SsrfGuard` refuses."""
    return BadInput(
        f"{host} is not on the public internet", kind="forbidden_url", hint="name it in allow_hosts to permit it"
    )
