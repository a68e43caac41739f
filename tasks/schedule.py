"""When a deployment of a job runs: a cron line and a time zone, checked."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Schedule(BaseModel):
    """When a deployment of a job runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: str = Field(description="minute hour day month weekday, e.g. '0 2 * * *' for two at night")
    timezone: str = Field("UTC", description="time zone of the schedule, e.g. Europe/Zurich")

    @field_validator("cron")
    @classmethod
    def _validate_cron(cls, value: str) -> str:
        from croniter import CroniterError, croniter

        try:
            if {"r", "h"} & {*value.casefold().split()}:
                raise ValueError("Prefect knows neither R nor H")
            croniter.expand(value)
        except (CroniterError, ValueError, TypeError) as error:
            reason = str(error).removeprefix(f"[{value}] ").removeprefix("is not acceptable, ")
            reason = reason.removesuffix(" for iterator expression.")
            raise ValueError(
                f"{value!r} is no schedule ({reason}); write minute hour day month weekday, e.g. '0 2 * * *'"
            ) from None
        return value

    @field_validator("timezone")
    @classmethod
    def _validate_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"there is no time zone {value!r}; write it like Europe/Zurich") from None
        return value
