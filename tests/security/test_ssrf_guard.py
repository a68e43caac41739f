"""Users' URLs reach no private address, by spelling, by redirect or by DNS rebinding."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.calls.client import Client
from mediamill.tasks.calls.ssrf_guard import ForbiddenAddress, SsrfGuard, is_public
from mediamill.tasks.errors import BadInput, CallFailed
from tests.calls.raw_server import RawServer, always_reply, running_raw_server

PUBLIC = "93.184.215.14"


class FakeResolver(AbstractResolver):
    """A resolver that gives the next of a name's answers each time, and then always the last one."""

    def __init__(self, names: dict[str, list[list[str]]]) -> None:
        self.names = names
        self.resolved: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.resolved.append(host)
        answers = self.names[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
async def loopback_server() -> AsyncIterator[RawServer]:
    async with running_raw_server(always_reply(b"secret")) as running:
        yield running


async def download(
    url: str, folder: Path, *, resolver: FakeResolver | None = None, allow: tuple[str, ...] = ()
) -> Path:
    client = Client(connect_timeout=1.0, resolver=resolver)
    try:
        await client.download(url, folder / "file", max_bytes=1 << 20, timeout_seconds=3.0, allow_hosts=allow)
    finally:
        await client.aclose()
    return folder / "file"


SPELLINGS = [
    "127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1",
    "017700000001", "0177.0.0.1", "127.0.0.1.", "0", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[fe80::1%25lo]", "[fe80::1%lo]", "[::1%lo]", "127.0.0.2",
    "\u2460\u2461\u2466.0.0.1", "127\u30020\u30020\u30021", "%6c%6f%63alhost", "127.0.0.1%00.example.com",
    "example.com@127.0.0.1", "127.0.0.1:80@127.0.0.1", "127.0.0.1\\@example.com", "example.com#@127.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_of_loopback_connects(loopback_server: RawServer, tmp_path: Path, host: str) -> None:
    with pytest.raises((BadInput, CallFailed)) as caught:
        await download(f"http://{host}:{loopback_server.port}/x", tmp_path)
    assert loopback_server.connections == 0
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []  # noqa: PTH208


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255",
        "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "0.1.2.3", "fc00::1", "fd00:ec2::254", "fe80::1", "ff02::1", "::", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1",
        "2002:a00:1::", "2001:db8::1", "2001::1", "fec0::1", "::10.0.0.1", "3fff::1", "5f00::1", "not an address", "",
    ],
)  # fmt: skip
def test_private_and_special_addresses_are_not_public(address: Any) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [PUBLIC, "1.1.1.1", "100.63.255.255", "172.32.0.1", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::101:101"],
)
def test_public_addresses_are_public(address: Any) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_nothing_python_calls_private_is_public(address: ipaddress.IPv4Address) -> None:
    if address.is_private or address.is_multicast or address.is_reserved or address.is_link_local:
        assert not is_public(str(address))
    assert is_public(f"::ffff:{address}") == is_public(str(address))


@given(st.ip_addresses(v=6))
def test_nothing_python_calls_private_is_public_in_v6(address: ipaddress.IPv6Address) -> None:
    translated = address.ipv4_mapped or address in ipaddress.IPv6Network("64:ff9b::/96")  # judged by what is inside
    if not translated and (address.is_private or address.is_multicast or address.is_reserved):
        assert not is_public(str(address))


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_bad_input(text: Any) -> None:
    for url in (text, f"http://{text}/", f"https://[{text}]:1/"):
        with contextlib.suppress(BadInput):
            assert SsrfGuard().check_url(url).startswith("http")


@pytest.mark.parametrize(
    "url", ["ftp://example.com/a", "file:///etc/passwd", "http:///x", "http://u:p@example.com/", "http://e.com:99999/",
            "", "x", "http://e.com:0/", "gopher://127.0.0.1", "http://exa mple.com/", "http://e.com/\r\nX: 1"]
)  # fmt: skip
async def test_invalid_and_unsupported_urls_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(BadInput) as caught:
        await download(url, tmp_path)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], [PUBLIC, "127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["fe80::1%lo"]]
)
async def test_a_name_of_a_private_address_is_not_connected_to(
    loopback_server: RawServer, tmp_path: Path, addresses: list[str]
) -> None:
    names = FakeResolver({"media.example": [addresses]})
    with pytest.raises(BadInput, match=r"media\.example is not on the public internet"):
        await download(f"http://media.example:{loopback_server.port}/", tmp_path, resolver=names)
    assert loopback_server.connections == 0


async def test_dns_rebinding_does_not_change_the_checked_address(
    loopback_server: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is public, every later one loopback: what is connected to is what was checked."""
    attempts: list[str] = []

    async def refuse(connection: socket.socket, address: tuple[str, int]) -> None:
        attempts.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", refuse)
    names = FakeResolver({"rebind.example": [[PUBLIC], ["127.0.0.1"]]})
    with pytest.raises(BadInput, match="not on the public internet"):
        await download(f"http://rebind.example:{loopback_server.port}/", tmp_path, resolver=names)
    assert attempts == [PUBLIC]
    assert names.resolved == ["rebind.example"] * 2
    assert loopback_server.connections == 0


async def test_a_redirect_into_a_private_network_is_refused(loopback_server: RawServer, tmp_path: Path) -> None:
    async with running_raw_server(
        always_reply(b"", "302 Found", (f"Location: http://127.0.0.1:{loopback_server.port}/secret",))
    ) as front:
        with pytest.raises(BadInput, match=r"127\.0\.0\.1 is not on the public internet"):
            await download(front.origin, tmp_path, allow=(f"127.0.0.1:{front.port}",))
        assert front.connections == 1
    assert loopback_server.connections == 0


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "//127.1/",
        "http://[::1]/",
        "ftp://x/",
        "http://a:b@example.com/",
        "http://2130706433/",
        "",
    ],
)
async def test_every_redirect_is_checked(tmp_path: Path, location: str) -> None:
    async with running_raw_server(always_reply(b"", "301 Moved", (f"Location: {location}",))) as front:
        with pytest.raises(BadInput):
            await download(front.origin, tmp_path, allow=(f"127.0.0.1:{front.port}",))
        assert front.connections == 1


def test_a_redirect_from_https_to_http_is_refused() -> None:
    with pytest.raises(BadInput, match="https to http"):
        SsrfGuard().check_redirect("https://example.com/a", "http://example.com/a")
    assert SsrfGuard().check_redirect("https://example.com/a/b", "../c#x") == "https://example.com/c"
    assert SsrfGuard().check_redirect("http://example.com/a", "https://other.example/") == "https://other.example/"


async def test_the_number_of_redirects_is_bounded(tmp_path: Path) -> None:
    async with running_raw_server(always_reply(b"", "302 Found", ("Location: /again",))) as front:
        with pytest.raises(BadInput, match="more than 5"):
            await download(front.origin, tmp_path, allow=("127.0.0.1",))
        assert len(front.requests) == 6


async def test_allow_hosts_allows_exactly_what_it_names(loopback_server: RawServer, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{loopback_server.port}/"
    assert (await download(url, tmp_path, allow=("127.0.0.1",))).read_bytes() == b"secret"
    assert (await download(url, tmp_path, allow=(f"127.0.0.1:{loopback_server.port}",))).read_bytes() == b"secret"
    before = loopback_server.connections
    for other in (
        (f"127.0.0.1:{loopback_server.port + 1}",),
        ("127.0.0.2",),
        ("localhost",),
        (f"localhost:{loopback_server.port}",),
    ):
        with pytest.raises(BadInput):
            await download(url, tmp_path, allow=other)
    assert loopback_server.connections == before


async def test_an_allowed_name_allows_no_other_name_of_the_same_address(
    loopback_server: RawServer, tmp_path: Path
) -> None:
    names = FakeResolver({"media.lan": [["127.0.0.1"]], "evil.example": [["127.0.0.1"]]})
    client = Client(connect_timeout=1.0, resolver=names)
    allow = ("media.lan",)
    done = await client.download(
        f"http://MEDIA.lan:{loopback_server.port}/", tmp_path / "a", max_bytes=100, timeout_seconds=3, allow_hosts=allow
    )
    assert done.size == 6
    with pytest.raises(BadInput):
        await client.download(
            f"http://evil.example:{loopback_server.port}/",
            tmp_path / "b",
            max_bytes=100,
            timeout_seconds=3,
            allow_hosts=allow,
        )
    await client.aclose()
    assert loopback_server.connections == 1


def test_the_socket_checks_its_own_address() -> None:
    with pytest.raises(ForbiddenAddress):
        SsrfGuard().create_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)))
    with pytest.raises(ForbiddenAddress):
        SsrfGuard().create_socket((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::ffff:10.0.0.1", 80, 0, 0)))


async def test_proxies_and_credentials_are_not_used(
    loopback_server: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_raw_server(always_reply(b"proxy")) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.origin)
        await download(f"http://127.0.0.1:{loopback_server.port}/", tmp_path, allow=("127.0.0.1",))
        assert proxy.connections == 0
    sent = loopback_server.requests[0].lower()
    assert b"authorization" not in sent
    assert b"cookie" not in sent
