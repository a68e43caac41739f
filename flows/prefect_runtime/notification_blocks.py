"""Notifications by a block of Prefect's, for people who keep their addresses there."""

from __future__ import annotations

import asyncio
import inspect

from mediamill.flows.prefect_runtime.api_endpoint import find_prefect
from mediamill.tasks.run.notify import NotSent, silence_libraries


def send_to_block(name: str, title: str, text: str) -> None:
    """Send by the notification block of this name, ``TYPE/NAME``.

    Raises:
        NotSent: when no Prefect has such a block, or it is none that notifies. What else a block raises is its own.
    """
    api = find_prefect()
    if api is None:
        raise NotSent("it needs a Prefect API, and none is configured: mediamill up")
    api.configure_client()
    import prefect.blocks.notifications  # noqa: F401 (registers the types of blocks)
    from prefect.blocks.abstract import NotificationBlock
    from prefect.blocks.core import Block

    try:
        block = Block.load(name)
    except ValueError:
        raise NotSent(f"Prefect has no block {name!r}; write it as TYPE/NAME, e.g. slack-webhook/ops") from None
    if not isinstance(block, NotificationBlock):
        raise NotSent("it is no notification block")
    with silence_libraries(), block.raise_on_failure():
        sent: object = block.notify(text, subject=title)
        if inspect.iscoroutine(sent):  # a block of another package; Prefect's own notify at once here
            asyncio.run(sent)
