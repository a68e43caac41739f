"""mediamill models: what the configuration knows, with prices."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mediamill.tasks.providers.config import ModelFacts


@dataclass(frozen=True, slots=True)
class Model:
    """A configured model; ``price`` in words, with unit, source and date."""

    provider: str
    operation: str
    model: str
    default: bool
    can: tuple[str, ...]
    price: str | None


@click.command("models")
@click.option("--provider", metavar="NAME", help="only this provider's")
@click.option("--live", is_flag=True, help="ask the provider for its list; needs --provider and its key")
@click.option("--voices", is_flag=True, help="the voices of models that speak, asked for live where a key is set")
@click.option("--base-url", metavar="URL", help="another server of the same kind, with --live or --voices")
@click.option("--json", "as_json", is_flag=True, help="a JSON list instead of text")
@click.option("--debug", is_flag=True, help="tracebacks")
def command(*, provider: str | None, live: bool, voices: bool, base_url: str | None, as_json: bool, debug: bool) -> int:  # noqa: ARG001
    """List the models in configs/providers with what they can do and what they cost.

    Other models work too: name any with --model. A price that is not known here is told as unknown.
    """
    if voices:
        from mediamill.flows.voices import tell_voices

        return tell_voices(_names(provider), base_url, as_json=as_json)
    if live:
        return _tell_live(provider, base_url, as_json=as_json)
    models = [m for name in _names(provider) for m in _configured(name)]
    if as_json:
        click.echo(json.dumps([asdict(m) for m in models]))
        return 0
    for m in models:
        mark = " (default)" if m.default else ""
        click.echo(f"{m.provider:<11} {m.operation:<14} {m.model}{mark}")
        click.echo(f"{'':<27}{', '.join(m.can) or 'text only'}; {m.price or 'price unknown'}")
    return 0


def _names(provider: str | None) -> tuple[str, ...]:
    from mediamill.tasks.errors import NoSuchOption
    from mediamill.tasks.providers.registry import provider_names

    if provider is not None and provider not in provider_names():
        raise NoSuchOption("provider", provider, provider_names())
    return (provider,) if provider else provider_names()


def _configured(provider: str) -> list[Model]:
    from mediamill.tasks.money.cost import Pricing
    from mediamill.tasks.money.prices import Billing
    from mediamill.tasks.providers.config import load_config

    config = load_config(provider)
    pricing = Pricing.of(provider, Billing(config.free))
    models = []
    for operation, facts in config.operations.items():
        for name, can in facts.models.items():
            told = _abilities(operation, can)
            flat = can.images is not None and can.images.flat
            price = "free" if config.free else pricing.source(name, operation, flat=flat)
            models.append(Model(provider, operation, name, name == facts.default_model, told, price))
    return models


def _abilities(operation: str, can: ModelFacts) -> tuple[str, ...]:
    """What a model can do, in a few words."""
    if can.voice is not None:
        told = ("speaks", *(form for form in can.voice.formats if form != "pcm"))
    elif (other := _other_abilities(can)) is not None:
        told = other
    elif can.talk is not None or can.vision is not None:
        talk, sees = can.talk, can.vision
        told = ("answers",)
        if sees is not None:
            told = (f"sees up to {sees.max_pictures} pictures", *(["videos"] if sees.video else []))
        if talk is not None:
            told += (*(["thinks"] if talk.thinks else []), *(["tools"] if talk.tools else []), talk.structured)
    else:
        abilities = ("verbose", "times"), ("words", "words"), ("diarize", "speakers"), ("prompt", "prompt")
        told = tuple(word for field, word in abilities if getattr(can, field))
    if operation == "translation":
        told += (f"to {', '.join(sorted(can.targets))}" if can.targets else "to any language",)
    return (*told, "by socket only") if can.transport == "socket" else told


def _other_abilities(can: ModelFacts) -> tuple[str, ...] | None:
    """What a model can do that neither hears, speaks nor answers; None for those that do."""
    if can.images is not None:
        sizes = can.images.sizes or can.images.resolutions
        return ("draws", f"{can.images.max_n} a request", *([" ".join(sizes)] if sizes else []))
    if can.films is not None:
        lengths = " ".join(map(str, can.films.seconds))
        frames = f"keyframes {' '.join(can.films.keyframes)}" if can.films.keyframes else None
        sizes = can.films.sizes or can.films.resolutions
        known = (f"{lengths} s" if lengths else None, " ".join(sizes) or None, frames)
        return ("films", *(each for each in known if each))
    if can.ranks is not None:
        return ("ranks", f"{can.ranks.max_documents} documents a request")
    if can.embeds is not None:
        size = can.embeds.dimensions
        return ("embeds", *([f"{size} numbers"] if size else []), f"{can.embeds.max_texts} texts a request")
    return ("runs code",) if can.interprets is not None else None


def _tell_live(provider: str | None, base_url: str | None, *, as_json: bool) -> int:
    from mediamill.tasks.errors import UsageError

    if provider is None:
        raise UsageError("--live needs --provider", hint="mediamill models --live --provider together")
    names = _ask(provider, base_url)
    if as_json:
        click.echo(json.dumps(names))
    else:
        click.echo("\n".join(names))
    return 0


def _ask(provider: str, base_url: str | None) -> list[str]:
    """The ids a provider lists: a bare array, or under ``data`` or ``models`` (provider docs)."""
    from mediamill.flows.asking import ask_json

    told = ask_json(provider, base_url, "/models")
    if told is None:
        return [m.model for m in _configured(provider)]
    items = told if isinstance(told, list) else told.get("data") or told.get("models") or []
    return sorted(str(item["id"]) for item in items if isinstance(item, dict) and "id" in item)
