"""A provider's key from a Prefect Secret block, for workers without it in their environment."""

from __future__ import annotations

import os
from typing import cast

from prefect.blocks.system import Secret

from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.providers.registry import key_env_name


def use_secret_block(job: Job, block: str) -> None:
    """Set the environment variable of the job's provider key from ``block``, in this process alone.

    Raises:
        UsageError: when there is no such block, or the provider takes no key.
    """
    name = key_env_name(job.provider, job.api_key_env) if job.provider else None
    if name is None:
        raise UsageError("a Secret block needs a provider that takes a key", hint="name the provider it is for")
    try:
        secret = cast(Secret[str], Secret.load(block))
    except ValueError:
        raise UsageError(f"Prefect has no Secret block {block!r}", hint="create it in the UI under Blocks") from None
    os.environ[name] = str(secret.get())
