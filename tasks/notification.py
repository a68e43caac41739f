"""Who is told how a run ended, as a job or a chain names it; ``run/notify.py`` tells them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

NotificationEvent: TypeAlias = Literal["end", "failures", "stopped", "budget"]
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
"""The name of an environment variable."""


class Notification(BaseModel):
    """Who is told how a run ended: by Apprise, or by a block of Prefect's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    env: str | None = Field(
        None,
        description="NAME of the environment variable that holds Apprise URLs (https://appriseit.com), never a URL",
    )
    block: str | None = Field(None, description="TYPE/NAME of a Prefect notification block, e.g. slack-webhook/ops")
    when: list[NotificationEvent] = Field(
        default=["end"],
        description="of what: end (of each run that had something to do), failures (items failed), stopped (before its "
        "end, or it could not start), budget (its budget is reached); default: end",
    )

    @field_validator("env")
    @classmethod
    def _validate_env(cls, value: str | None) -> str | None:
        if value is not None and not ENV_NAME.fullmatch(value):
            raise ValueError("give the NAME of an environment variable, never the URL itself")
        return value

    @field_validator("block")
    @classmethod
    def _validate_block(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[\w-]+/[\w-]+", value):
            raise ValueError("write TYPE/NAME of a Prefect block, e.g. slack-webhook/ops, never a URL")
        return value

    @model_validator(mode="after")
    def _validate_one(self) -> Notification:
        if (self.env is None) == (self.block is None):
            raise ValueError("give env, the name of an environment variable, or block")
        return self


def _to_notifications(value: Any) -> Any:
    """A single notification as a list of one, and a name alone as that of an environment variable."""
    entries = value if isinstance(value, (list, tuple)) else [value]
    return [{"env": each} if isinstance(each, str) else each for each in entries]


Notifications = Annotated[
    list[Notification],
    BeforeValidator(_to_notifications, json_schema_input_type=str | Notification | list[str | Notification]),
]
