"""Downloads of media by URL, from the hosts that ``--url-host`` allows."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from mediamill.tasks.local.asr_engines.base import Audio
from mediamill.tasks.local.server.api_error import ApiError

_TIMEOUT = aiohttp.ClientTimeout(total=300, sock_connect=10)
_BLOCK_BYTES = 1 << 16


async def download(url: str, allowed_hosts: Collection[str], max_bytes: int, cleanup: ExitStack) -> Audio:
    """Download a file; ``cleanup`` removes it.

    Args:
        url: http or https.
        allowed_hosts: ``host`` or ``host:port`` from which files may be fetched; ``*`` stands for any.
        max_bytes: largest file.
        cleanup: removes the file when it closes.

    Raises:
        ApiError: when the host is not allowed or does not answer 200, or when the file is too large.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ApiError("bad_value", "the URL must begin with http:// or https://", param="file")
    if not {"*", parts.hostname, parts.netloc} & set(allowed_hosts):
        raise ApiError("bad_value", f"this server may not fetch from {parts.hostname}; see --url-host", param="file")
    file = cleanup.enter_context(tempfile.NamedTemporaryFile(prefix="mediamill-url-"))  # noqa: SIM115
    try:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(url, allow_redirects=False) as reply:
            if reply.status != 200:  # noqa: PLR2004
                raise ApiError("bad_value", f"the URL answered {reply.status}", param="file")
            digest, size = hashlib.sha256(), 0
            async for block in reply.content.iter_chunked(_BLOCK_BYTES):
                size += len(block)
                if size > max_bytes:
                    raise ApiError("url_too_large", f"the file behind the URL is above {max_bytes} bytes", param="file")
                digest.update(block)
                file.write(block)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise ApiError("bad_value", f"the URL cannot be fetched: {type(error).__name__}", param="file") from None
    file.flush()
    return Audio(Path(parts.path).name or "audio", size, digest.hexdigest(), path=Path(file.name))
