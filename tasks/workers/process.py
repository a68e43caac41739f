"""The program of a worker process: ``python -m mediamill.tasks.workers.process FD``; FD is a socket to its run."""

from __future__ import annotations

import signal
import socket
import sys

from mediamill.tasks.engine import Engine
from mediamill.tasks.workers.channel import Channel
from mediamill.tasks.workers.worker import take_part


async def _connect_and_work(end: socket.socket, engine: Engine) -> None:
    await take_part(await Channel.open(end), engine)


def main() -> None:
    """Work for the run at the other end of the socket. Ctrl-C and a closed terminal reach the run, which says stop."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    engine = Engine.shared()
    engine.submit(_connect_and_work(socket.socket(fileno=int(sys.argv[1])), engine)).result()


if __name__ == "__main__":
    main()
