"""Messages between a run and one of its worker processes, over a pair of sockets."""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
from typing import Any, Self

_LENGTH = struct.Struct("!I")


class Channel:
    """One end. Both ends are processes of one run and one program, so pickles are safe here and nowhere else."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Self:
        """The channel over one end of a socket pair, which it closes with itself."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, message: Any) -> None:
        """Send a message, in order, without waiting. One to an end that is gone is lost: its reader tells."""
        body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        if not self._writer.is_closing():
            self._writer.write(_LENGTH.pack(len(body)) + body)

    async def receive(self) -> Any:
        """The next message; None once the other end is gone."""
        try:
            size = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))[0]
            return pickle.loads(await self._reader.readexactly(size))  # noqa: S301 - from our own process
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def flush(self) -> None:
        """Wait until what was sent has left this process."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    def close(self) -> None:
        """Close this end."""
        self._writer.close()
