"""The plain alternative: an aiohttp loop that posts every file of a folder and keeps the texts in a list."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import aiohttp


async def main(folder: Path, origin: str, in_flight: int) -> int:
    """Post all files, ``in_flight`` at a time; the number of texts that came back."""
    files = iter(sorted(folder.iterdir()))
    texts: list[str] = []

    async def worker(session: aiohttp.ClientSession) -> None:
        for path in files:
            form = aiohttp.FormData()
            form.add_field("model", "echo")
            form.add_field("response_format", "verbose_json")
            form.add_field("file", path.read_bytes(), filename=path.name, content_type="audio/wav")
            async with session.post(f"{origin}/v1/audio/transcriptions", data=form) as reply:
                texts.append(json.loads(await reply.read())["text"])

    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(worker(session) for _ in range(in_flight)))
    return len(texts)


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))}\n")
