"""Who does an item next, where what was done before is not good enough: ``escalate`` of a job."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_ESCALATIONS = 5
"""Each item may go through all of them, one after the other."""


class Escalation(BaseModel):
    """A provider, and what is otherwise with it. As text: ``NAME`` or ``NAME:MODEL``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str = Field(description="the provider")
    model: str | None = Field(None, description="the provider's model name; default from configs/providers")
    base_url: str | None = Field(
        None, description="address of another server with the provider's API; default: the job's, for the same provider"
    )
    api_key_env: str | None = Field(
        None, description="NAME of the environment variable that holds the key; default: the provider's own"
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="parameters of the capability that are otherwise than the job's"
    )
    concurrency: Annotated[int, Field(gt=0, le=4096)] | None = Field(
        None, description="maximum requests in flight; default: the provider's limit"
    )
    rpm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="maximum requests per minute; default: the provider's limit"
    )

    @model_validator(mode="before")
    @classmethod
    def _parse_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        provider, _, model = value.strip().partition(":")
        return {"provider": provider, "model": model or None}

    def describe_made_with(self) -> dict[str, Any]:
        """What decides its rows: the provider, the model and the parameters that it names."""
        return self.model_dump(mode="json", include={"provider", "model", "params"}, exclude_defaults=True)
