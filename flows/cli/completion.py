"""What a shell's Tab offers as values: providers, models, OUTs, kinds of failures, files.

Each function takes what click gives it and what is typed so far. None of them raises: a shell would print it into the
line that is being typed.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
_Lister = Callable[[click.Context], Iterable[str]]

_OUT_FOLDERS = (Path("data/results"), Path())


def _offer(list_values: _Lister, *, path_kind: str | None = None) -> Completer:
    """A completer of listed values; where none fits, the shell completes paths of a kind: ``file`` or ``dir``."""

    @functools.wraps(list_values)
    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        paths = [CompletionItem(incomplete, type=path_kind)] if path_kind else []
        values: list[str] = []
        with contextlib.suppress(Exception):  # what cannot be listed is no error while one types
            values.extend(list_values(context))
        return [*paths, *(CompletionItem(value) for value in values if value.startswith(incomplete))]

    return complete


def _list_providers(_: click.Context) -> Iterable[str]:
    from mediamill.tasks.providers.registry import provider_names

    return provider_names()


def _list_models(context: click.Context) -> Iterable[str]:
    """The models of the named provider, else of all; of a capability's command those that can do it."""
    from mediamill.tasks import capabilities
    from mediamill.tasks.providers.registry import load_config, provider_names

    name, provider = context.command.name or "", context.params.get("provider")
    operation = capabilities.get(name).operation if capabilities.is_known(name) else None
    for each in (provider,) if provider else provider_names():
        for offered, config in load_config(each).operations.items():
            if operation in (None, offered):
                yield from config.models


def _list_outs(_: click.Context) -> Iterable[str]:
    from mediamill.tasks.out.listing import find_outs

    return (str(out) for folder in _OUT_FOLDERS for out in find_outs(folder))


def _list_kinds(context: click.Context) -> Iterable[str]:
    """The kinds of failures in the OUT that is named, and those that are no failures."""
    from mediamill.tasks.out.nothing_to_retry import KINDS_WITHOUT_FAILURE
    from mediamill.tasks.out.status import read_status

    out = context.params.get("out") or next(iter(context.args), None)  # click keeps it there before a value is typed
    yield from KINDS_WITHOUT_FAILURE
    if out:
        yield from sorted(read_status(Path(out)).by_kind)


def _list_capabilities(_: click.Context) -> Iterable[str]:
    from mediamill.tasks import capabilities

    return capabilities.list_names()


def _list_recipes(_: click.Context) -> Iterable[str]:
    from mediamill.tasks.starters.recipes import PREFIX, list_names

    return (f"{PREFIX}{name}" for name in list_names())


complete_provider = _offer(_list_providers)
complete_model = _offer(_list_models)
complete_out = _offer(_list_outs, path_kind="dir")
complete_kind = _offer(_list_kinds)
complete_job = _offer(_list_recipes, path_kind="file")
complete_capability = _offer(_list_capabilities)
complete_source = _offer(lambda _: (), path_kind="file")
complete_capability_or_source = _offer(_list_capabilities, path_kind="file")


def complete_choices(choices: Iterable[str]) -> Completer:
    """A completer of fixed values."""
    values = tuple(choices)
    return _offer(lambda _: values)


def complete_list(choices: Iterable[str]) -> Completer:
    """A completer of fixed values that are joined by commas, such as ``srt,vtt``."""
    values = tuple(choices)

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        return [
            CompletionItem(f"{before}{comma}{value}")
            for value in values
            if value.startswith(last) and value not in taken
        ]

    return complete
