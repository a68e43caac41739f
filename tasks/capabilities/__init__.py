"""WHAT is done to an item, one file each. A new capability is its file and one line here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mediamill.tasks.errors import NoSuchOption

if TYPE_CHECKING:
    from mediamill.tasks.capabilities.base import Capability

_CAPABILITIES = {
    "transcribe": "mediamill.tasks.capabilities.transcribe:Transcribe",
    "translate": "mediamill.tasks.capabilities.translate:Translate",
    "speak": "mediamill.tasks.capabilities.speak:Speak",
    "caption": "mediamill.tasks.capabilities.caption:Caption",
    "describe-video": "mediamill.tasks.capabilities.describe_video:DescribeVideo",
    "complete": "mediamill.tasks.capabilities.complete:Complete",
    "rerank": "mediamill.tasks.capabilities.rerank:Rerank",
    "embed": "mediamill.tasks.capabilities.embed:Embed",
    "generate-video": "mediamill.tasks.capabilities.generate_video:GenerateVideo",
    "generate-image": "mediamill.tasks.capabilities.generate_image:GenerateImage",
    "execute": "mediamill.tasks.capabilities.execute:Execute",
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
