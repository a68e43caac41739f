"""Single requests to servers on this machine.

httpx's own functions load the system's certificates for each, which takes more processor time than all else in a small
test.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import httpx


def get(url: str, **options: Any) -> httpx.Response:
    """``httpx.get`` without certificates and proxies."""
    return httpx.get(url, trust_env=False, verify=False, **options)


def head(url: str, **options: Any) -> httpx.Response:
    """``httpx.head`` without certificates and proxies."""
    return httpx.head(url, trust_env=False, verify=False, **options)


def options(url: str, **options: Any) -> httpx.Response:
    """``httpx.options`` without certificates and proxies."""
    return httpx.options(url, trust_env=False, verify=False, **options)


def post(url: str, **options: Any) -> httpx.Response:
    """``httpx.post`` without certificates and proxies."""
    return httpx.post(url, trust_env=False, verify=False, **options)


def stream(method: str, url: str, **options: Any) -> AbstractContextManager[httpx.Response]:
    """``httpx.stream`` without certificates and proxies."""
    return httpx.stream(method, url, trust_env=False, verify=False, **options)
