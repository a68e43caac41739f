"""mediamill models: list the configured models with their prices."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import click

from mediamill.flows.cli.completion import complete_provider
from mediamill.flows.cli.console import print_json, print_line
from mediamill.flows.cli.help_layout import HelpfulCommand


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A configured model; ``price`` is text with unit, source and date."""

    provider: str
    operation: str
    model: str
    default: bool
    can: tuple[str, ...]
    price: str | None


@click.command("models", cls=HelpfulCommand)
@click.option(
    "--provider",
    metavar="NAME",
    shell_complete=complete_provider,
    help="only this provider's models; default: every provider's",
)
@click.option("--live", is_flag=True, help="list what the provider's API lists; needs --provider and its key")
@click.option(
    "--voices", is_flag=True, help="list the voices of speech models, from the provider's API where a key is set"
)
@click.option(
    "--base-url", metavar="URL", help="address of another server with the provider's API, with --live or --voices"
)
@click.option("--json", "as_json", is_flag=True, help="print a JSON list instead of text")
@click.option("--debug", is_flag=True, help="print tracebacks")
def command(*, provider: str | None, live: bool, voices: bool, base_url: str | None, as_json: bool, debug: bool) -> int:  # noqa: ARG001
    """List the models in configs/providers with their abilities and prices.

    Other models work, too: name any with --model. A price that is not known here is printed as unknown.
    """
    from mediamill.flows.cli.listings import list_from_providers, print_voices

    if voices:
        return print_voices(_select_providers(provider), base_url, as_json=as_json)
    if live:
        return _print_live_models(provider, base_url, as_json=as_json)
    models = list_from_providers(_select_providers(provider), _list_configured_models)
    if as_json:
        print_json([asdict(m) for m in models])
        return 0
    for m in models:
        mark = " (default)" if m.default else ""
        print_line(f"{m.provider:<11} {m.operation:<14} {m.model}{mark}")
        print_line(f"{'':<27}{', '.join(m.can) or 'text only'}; {m.price or 'price unknown'}")
    return 0


def _select_providers(provider: str | None) -> tuple[str, ...]:
    from mediamill.tasks.errors import NoSuchOption
    from mediamill.tasks.providers.registry import provider_names

    if provider is not None and provider not in provider_names():
        raise NoSuchOption("provider", provider, provider_names())
    return (provider,) if provider else provider_names()


def _list_configured_models(provider: str) -> list[ListedModel]:
    from mediamill.tasks.money.cost import Pricing
    from mediamill.tasks.providers.operations import find_meter, find_priced_as
    from mediamill.tasks.providers.operations.image_config import ImageModel
    from mediamill.tasks.providers.registry import find_default_model, load_config

    config = load_config(provider)
    pricing = Pricing.load(provider, config.billing, find_meter, find_priced_as)
    models = []
    for operation, facts in config.operations.items():
        default = find_default_model(provider, operation)
        for name, model in facts.models.items():
            flat = isinstance(model, ImageModel) and model.flat
            price = "free" if config.free else pricing.source(name, operation, flat=flat)
            models.append(ListedModel(provider, operation, name, name == default, model.abilities(), price))
    return models


def _print_live_models(provider: str | None, base_url: str | None, *, as_json: bool) -> int:
    from mediamill.tasks.errors import UsageError

    if provider is None:
        raise UsageError("--live needs --provider", hint="mediamill models --live --provider together")
    names = _fetch_model_ids(provider, base_url)
    if as_json:
        print_json(names)
    else:
        for name in names:
            print_line(name)
    return 0


def _fetch_model_ids(provider: str, base_url: str | None) -> list[str]:
    """Fetch the ids that a provider lists: a bare array, or under ``data`` or ``models`` (provider docs)."""
    from mediamill.flows.cli.listings import fetch_json

    reply = fetch_json(provider, base_url, "/models")
    if reply is None:
        return [m.model for m in _list_configured_models(provider)]
    items = reply if isinstance(reply, list) else reply.get("data") or reply.get("models") or []
    return sorted(str(item["id"]) for item in items if isinstance(item, dict) and "id" in item)
