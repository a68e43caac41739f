"""Run rerank, embed and execute against one built-in server that has every provider's API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.cli_runs import SENTINEL, mediamill
from tests.helpers.local_server import RunningServer

RANKER, SEARCHER, METERED = "Salesforce/Llama-Rank-V1", "rerank-v3.5", "rerank-v5.0-pro"
E5, SMALL = "intfloat/multilingual-e5-large-instruct", "text-embedding-3-small"
PRICES = [
    f"{RANKER}=0.1/0",
    f"{SEARCHER}=0.002",
    f"{METERED}=0.05/0",
    f"{E5}=0.02/0",
    f"{SMALL}=0.02/0",
    "code-interpreter=0.03",
]
DIALECT_PATHS = {"together": "together", "openai": "openai-api", "compatible": "compatible", "cohere": "cohere"}
KEYS = dict.fromkeys(("TOGETHER_API_KEY", "OPENAI_API_KEY", "COMPATIBLE_API_KEY", "CO_API_KEY"), SENTINEL)


def run_capability(
    capability: str,
    source: Path | str,
    out: Path,
    server: RunningServer,
    *options: str | Path,
    provider: str = "together",
    **env: str,
) -> Any:
    """Run a capability with a provider's adapter against the server's version of that provider's API."""
    address = f"{server.origin}/{DIALECT_PATHS[provider]}"
    where: tuple[str | Path, ...] = ("--provider", provider, "--base-url", address, "--out", out, "--yes")
    return mediamill(capability, source, *where, *options, home=out.parent / "home", env={**KEYS, **env})
