"""WHAT is done to an item, one file each. A new capability is its file and one line here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tasks.errors import NoSuchOption

if TYPE_CHECKING:
    from tasks.capabilities.base import Capability

_CAPABILITIES = {
    "transcribe": "tasks.capabilities.transcribe:Transcribe",
    "translate": "tasks.capabilities.translate:Translate",
    "speak": "tasks.capabilities.speak:Speak",
    "caption": "tasks.capabilities.caption:Caption",
    "describe-video": "tasks.capabilities.describe_video:DescribeVideo",
    "complete": "tasks.capabilities.complete:Complete",
    "rerank": "tasks.capabilities.rerank:Rerank",
    "embed": "tasks.capabilities.embed:Embed",
    "generate-video": "tasks.capabilities.generate_video:GenerateVideo",
    "generate-image": "tasks.capabilities.generate_image:GenerateImage",
    "execute": "tasks.capabilities.execute:Execute",
}


def names() -> tuple[str, ...]:
    """Every capability's name."""
    return tuple(_CAPABILITIES)


def register(name: str, where: str) -> None:
    """Make ``module:Class`` known under ``name``, for capabilities that live outside this folder."""
    _CAPABILITIES[name] = where


def get(name: str) -> Capability:
    """The capability of that name.

    Raises:
        NoSuchOption: when there is none.
    """
    if name not in _CAPABILITIES:
        raise NoSuchOption("capability", name, _CAPABILITIES)
    module, _, cls = _CAPABILITIES[name].partition(":")
    made: Capability = getattr(importlib.import_module(module), cls)()
    return made
