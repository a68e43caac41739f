"""What the README's first command downloads, installs and takes, from an empty cache and an empty home.

    uv run python -m tests.bench.first_command

It takes the committed state of the repository, fetches all packages from their registry, and removes everything again.
Downloads are counted by a proxy on loopback, so they go through this process.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.helpers.paths import ROOT

_COMMAND = "pip install --quiet uv && uv run mediamill transcribe data/samples/recordings --quiet"
_BLOCK_BYTES = 2**16


class CountingProxy:
    """A proxy for HTTPS on loopback that counts the bytes it hands on to its clients."""

    def __init__(self) -> None:
        self.received_bytes = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._is_ready = threading.Event()
        threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True).start()
        self._is_ready.wait()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._is_ready.set()
        await server.serve_forever()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect a client to the host that it names, until either side closes."""
        _, address, _ = (await reader.readline()).decode().split(" ", 2)
        while (await reader.readline()).strip():
            pass
        host, _, port = address.rpartition(":")
        host_reader, host_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(
            self._copy(reader, host_writer, counted=False), self._copy(host_reader, writer, counted=True)
        )

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        try:
            while block := await reader.read(_BLOCK_BYTES):
                self.received_bytes += len(block) if counted else 0
                writer.write(block)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


def run_timed(folder: Path, environment: dict[str, str]) -> float:
    """Seconds that the command takes in a clone."""
    began = time.perf_counter()
    subprocess.run(["bash", "-c", _COMMAND], cwd=folder / "clone", env=environment, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    proxy = CountingProxy()
    address = f"http://127.0.0.1:{proxy.port}"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "clone")], check=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        kept = {name: os.environ[name] for name in ("LANG", "SSL_CERT_FILE", "PIP_CERT") if name in os.environ}
        environment = kept | {
            "PATH": f"{folder / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "UV_CACHE_DIR": str(folder / "cache"),
            "PIP_CACHE_DIR": str(folder / "pip"),
            "HTTPS_PROXY": address,
            "NO_PROXY": "127.0.0.1,localhost",
        }
        seconds, again = run_timed(folder, environment), run_timed(folder, environment)
        installed = [file for file in (folder / "clone" / ".venv").rglob("*") if file.is_file()]
        packages = [file for file in installed if file.match("*.dist-info/METADATA")]
        megabytes = sum(file.stat().st_size for file in installed) / 1e6
        shutil.rmtree(folder / "clone")
    sys.stdout.write(
        f"{len(packages)} packages, {proxy.received_bytes / 1e6:.0f} MB downloaded, {megabytes:.0f} MB installed, "
        f"{seconds:.0f} s; again {again:.1f} s\n"
    )


if __name__ == "__main__":
    main()
