"""The model that one row is done with: a manifest's column may name another one than the job does."""

from __future__ import annotations

import datetime as dt

from mediamill.tasks.errors import BadInput
from mediamill.tasks.wire import Provider


def check_row_model(provider: Provider, operation: str, model: str) -> str:
    """The model, if its provider still has it.

    Raises:
        BadInput: when the provider has ended it.
    """
    end = provider.find_model_end(operation, model)
    if end is not None and end.refused:
        raise BadInput(f"{provider.name} ended {model} on {end.date}", kind="no_model", hint=f"use {end.instead}")
    return model


def warn_of_model_end(provider: Provider, operation: str, model: str) -> list[str]:
    """That the provider ends the model, for the warnings of a row; nothing where it does not."""
    end = provider.find_model_end(operation, model)
    if end is None:
        return []
    verb = "ends" if end.date > dt.datetime.now(dt.UTC).date() else "announced to end"
    return [f"{provider.name} {verb} {model} on {end.date}; use {end.instead}"]
