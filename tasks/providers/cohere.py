"""Cohere: rerank."""

from __future__ import annotations

from mediamill.tasks.providers.hosted import HostedProvider


class Cohere(HostedProvider):
    """Billed by searches: one query with up to a hundred documents (provider docs)."""

    name = "cohere"
