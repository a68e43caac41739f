"""Measurements behind docs/decisions: each compares what mediamill does with the plain alternative.

    uv run python -m tests.bench.decisions [clients] [deadline] [commits] [audio] [cuts] [tasks]

The figures depend on the machine and on what else it does; what a page quotes is a ratio where it can be.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import httpx
import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, insert

from mediamill.tasks.calls.client import Client
from mediamill.tasks.calls.transport_errors import ReplyLost
from mediamill.tasks.domain import JSON
from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.tables import meta
from mediamill.tasks.media.cut import find_quietest_moment
from mediamill.tasks.media.encode import RATE, Samples
from mediamill.tasks.wire import Request
from tests.helpers.local_server import running_server

_BODY: dict[str, JSON] = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
_PATH = "/v1/chat/completions"
_LATENCY_SECONDS = 0.2
_RUNS = 3
_CUTS = 100

SendOnce = Callable[[], Awaitable[int]]


async def _send_all(send_once: SendOnce, count: int, in_flight: int) -> float:
    """Requests per second of ``count`` requests, ``in_flight`` at a time."""
    numbers = iter(range(count))

    async def worker() -> None:
        for _ in numbers:
            assert await send_once() == 200

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return count / (time.perf_counter() - began)


async def _send_with_httpx(origin: str, count: int, in_flight: int) -> float:
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:

        async def send() -> int:
            return (await client.post(origin + _PATH, json=_BODY)).status_code

        return await _send_all(send, count, in_flight)


async def _send_with_aiohttp(origin: str, count: int, in_flight: int) -> float:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight)) as session:

        async def send() -> int:
            async with session.post(origin + _PATH, json=_BODY) as reply:
                await reply.read()
                return reply.status

        return await _send_all(send, count, in_flight)


async def _send_with_ours(origin: str, count: int, in_flight: int) -> float:
    client = Client()

    async def send() -> int:
        reply = await client.send(origin, Request("POST", _PATH, json=_BODY), key=None, timeout_seconds=60)
        return reply.status

    try:
        return await _send_all(send, count, in_flight)
    finally:
        await client.aclose()


def measure_clients() -> None:
    """Requests per second of three clients against the built-in server, and their share of the ideal rate."""
    for in_flight in (64, 256):
        ideal = in_flight / _LATENCY_SECONDS
        for name, send in (("aiohttp", _send_with_aiohttp), ("ours", _send_with_ours), ("httpx", _send_with_httpx)):
            rates = []
            for _ in range(_RUNS):
                with running_server(engine="echo", latency="200ms") as server:
                    rates.append(asyncio.run(send(server.origin, in_flight * 12, in_flight)))
            rate = statistics.median(rates)
            _print(f"{in_flight:>4} in flight  {name:<8} {rate:7.0f} requests/s  {rate / ideal:4.0%} of the ideal")


async def _answer_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n")
    with contextlib.suppress(ConnectionError, asyncio.CancelledError):  # the client has gone
        for _ in range(10):
            await asyncio.sleep(0.5)
            writer.write(b"x")
            await writer.drain()
    writer.close()


async def _measure_deadline() -> None:
    server = await asyncio.start_server(_answer_slowly, "127.0.0.1", 0)
    origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    began = time.perf_counter()
    async with httpx.AsyncClient(timeout=1.0) as client:
        reply = await client.get(origin)
    _print(f"httpx, timeout=1.0: a reply of {len(reply.content)} bytes after {time.perf_counter() - began:.1f} s")
    client_of_ours, began = Client(), time.perf_counter()
    try:
        await client_of_ours.send(origin, Request("GET", "/"), key=None, timeout_seconds=1.0)
    except ReplyLost as error:
        _print(f"ours, timeout_seconds=1.0: {error.kind} after {time.perf_counter() - began:.1f} s")
    await client_of_ours.aclose()
    server.close()


def measure_deadline() -> None:
    """How long a reply of ten bytes, one every half second, keeps a client that has a timeout of one second."""
    asyncio.run(_measure_deadline())


def _insert_row(name: str) -> Callable[[Connection], None]:
    def insert_row(connection: Connection) -> None:
        connection.execute(insert(meta), {"name": name, "value": "x"})

    return insert_row


async def _write_together(journal: JournalDatabase, run: int) -> float:
    count = 3000
    began = time.perf_counter()
    await asyncio.gather(*(journal.write(_insert_row(f"together-{run}-{n}")) for n in range(count)))
    return count / (time.perf_counter() - began)


def measure_commits() -> None:
    """Durable writes per second: each in a transaction of its own, and all that wait in one transaction."""
    with tempfile.TemporaryDirectory() as folder:
        journal = JournalDatabase.open(Path(folder) / "out")
        began, alone = time.perf_counter(), 300
        for n in range(alone):
            journal.write_blocking(_insert_row(f"alone-{n}"))
        _print(f"one transaction a write:   {alone / (time.perf_counter() - began):7.0f} writes/s")
        rate = statistics.median(asyncio.run(_write_together(journal, run)) for run in range(_RUNS))
        _print(f"one transaction for all:   {rate:7.0f} writes/s")
        journal.close()


_DECODE_WITH_PYAV = """
import sys
from pathlib import Path
from mediamill.tasks.media.decode import open_recording
from mediamill.tasks.media.encode import to_mono
path = Path(sys.argv[1])
with open_recording(path, open(path, "rb").read(4096), None) as recording:
    samples = sum(block.samples for block in to_mono(recording.decode_frames()))
"""
_DECODE_WITH_PYDUB = """
import sys
from pydub import AudioSegment
samples = AudioSegment.from_wav(sys.argv[1]).set_frame_rate(16000).set_channels(1).frame_count()
"""
_REPORT = """
import resource
peak = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) // 1024
print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_utime:.1f} s of processor time, peak {peak} MB")
"""


def measure_audio() -> None:
    """Peak memory and processor time of half an hour of WAV, 44.1 kHz stereo, to 16 kHz mono. Linux only."""
    import wave

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "half-hour.wav"
        second = (np.random.default_rng(1).standard_normal((44_100, 2)) * 3000).astype("<i2").tobytes()
        with wave.open(str(path), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(44_100)
            for _ in range(1800):
                file.writeframes(second)
        for name, program in (("PyAV, streamed", _DECODE_WITH_PYAV), ("pydub", _DECODE_WITH_PYDUB)):
            command = [sys.executable, "-c", program + _REPORT, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            _print(f"{name:<15} {done.stdout.strip()}")


def measure_cuts() -> None:
    """How many cuts fall in a pause: at the quietest moment of a minute, and anywhere (a fixed grid)."""
    rng = np.random.default_rng(20261127)
    for noise_db in (None, -20, -10, -5):
        quiet = grid = 0
        for _ in range(_CUTS):
            audio, paused = _make_speech_like(rng, noise_db)
            quiet += bool(paused[find_quietest_moment(audio, 3 * RATE // 10)])
            grid += bool(paused[rng.integers(len(paused))])
        noise = "no noise" if noise_db is None else f"noise at {noise_db} dB"
        _print(f"{noise:<16} at the quietest moment {quiet / _CUTS:4.0%}, on a grid {grid / _CUTS:4.0%}")


def _make_speech_like(rng: np.random.Generator, noise_db: int | None) -> tuple[Samples, npt.NDArray[np.bool_]]:
    """A minute of bursts and pauses as long as words and the gaps between them, and where it pauses."""
    loud = np.zeros(60 * RATE, np.bool_)
    at = 0
    while at < len(loud):
        word, pause = int(rng.uniform(0.2, 0.7) * RATE), int(rng.exponential(0.15) * RATE)
        loud[at : at + word] = True
        at += word + pause
    level = np.repeat(rng.uniform(0.3, 1.0, len(loud) // 1600), 1600)
    audio = rng.standard_normal(len(loud)) * 3000 * loud * level
    if noise_db is not None:
        audio += rng.standard_normal(len(loud)) * 3000 * 10 ** (noise_db / 20)
    return audio.astype(np.int16), ~loud


_TASKS = """
import time
from prefect import flow, task

@task
def nothing(number):
    return number

@flow
def run_tasks(count):
    return [future.result() for future in [nothing.submit(number) for number in range(count)]]

run_tasks(1)
began = time.perf_counter()
run_tasks(COUNT)
print(f"{COUNT / (time.perf_counter() - began):.0f}")
"""


def measure_tasks() -> None:
    """Task runs per second of a Prefect flow whose tasks do nothing, with a server of its own."""
    count = 300
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "PREFECT_HOME": home, "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true"}
        env.pop("PREFECT_API_URL", None)
        command = [sys.executable, "-c", _TASKS.replace("COUNT", str(count))]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        _print(f"Prefect, one task an item: {done.stdout.split()[-1]} items/s ({count} tasks that do nothing)")


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


MEASUREMENTS = {
    "clients": measure_clients,
    "deadline": measure_deadline,
    "commits": measure_commits,
    "audio": measure_audio,
    "cuts": measure_cuts,
    "tasks": measure_tasks,
}

if __name__ == "__main__":
    for chosen in sys.argv[1:] or MEASUREMENTS:
        MEASUREMENTS[chosen]()
