"""Every operation by name. A new operation needs a file, a block in a provider's YAML and one line here.

An operation of another package is found by its entry point in the group ``mediamill.operations``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mediamill.tasks.plugins import OPERATION_GROUP, find_plugins, load_plugin, plugin_error

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from mediamill.tasks.money.meter import Meter
    from mediamill.tasks.providers.operations.base import Operation

_PACKAGE = "mediamill.tasks.providers.operations"
BUILT_IN = {
    "transcription": f"{_PACKAGE}.transcription:TranscriptionOperation",
    "translation": f"{_PACKAGE}.translation:TranslationOperation",
    "tts": f"{_PACKAGE}.tts:TtsOperation",
    "chat": f"{_PACKAGE}.chat:ChatOperation",
    "vision_chat": f"{_PACKAGE}.vision_chat:VisionChatOperation",
    "ocr": f"{_PACKAGE}.ocr:OcrOperation",
    "rerank": f"{_PACKAGE}.rerank:RerankOperation",
    "embeddings": f"{_PACKAGE}.embeddings:EmbeddingOperation",
    "code_interpreter": f"{_PACKAGE}.code_interpreter:CodeInterpreterOperation",
    "image": f"{_PACKAGE}.images:ImageOperation",
    "video": f"{_PACKAGE}.videos:VideoOperation",
}


def is_built_in_operation(name: str) -> bool:
    """Whether an operation is built in; another package's operation of the same name never replaces it."""
    return name in BUILT_IN


def is_operation(name: str) -> bool:
    """Whether there is an operation of that name. Other packages are only searched when it is not built in."""
    return name in BUILT_IN or name in find_plugins(OPERATION_GROUP)


def load_operation_class(name: str, adapter: str | None = None) -> type[Operation[Any, Any]]:
    """The class of an operation: the provider's ``adapter`` if it names one.

    Raises:
        KeyError: when there is no such operation.
        UsageError: when another package's operation cannot be imported, or is no operation.
    """
    target = adapter or BUILT_IN.get(name)
    if target is None:
        return _load_plugin_operation(find_plugins(OPERATION_GROUP)[name])
    loaded: type[Operation[Any, Any]] = load_object(target)
    return loaded


def _load_plugin_operation(plugin: EntryPoint) -> type[Operation[Any, Any]]:
    from mediamill.tasks.providers.operations.base import Operation

    loaded = load_plugin(plugin)
    if not (isinstance(loaded, type) and issubclass(loaded, Operation)):
        raise plugin_error(plugin, f"{plugin.value} is not a subclass of Operation")
    missing = [member for member in ("config_model", "facts_model") if not hasattr(loaded, member)]
    if missing:
        raise plugin_error(plugin, f"{plugin.value} has no {', '.join(missing)}")
    return loaded


def find_meter(name: str) -> Meter | None:
    """What prices an operation; None when its price is not known, or there is no such operation."""
    return load_operation_class(name).meter if is_operation(name) else None


def find_priced_as(name: str) -> str | None:
    """The operation whose prices apply if a price list has none for this one; None if there is no such operation."""
    return load_operation_class(name).priced_as if is_operation(name) else None


def load_object(target: str) -> Any:
    """The object that ``module:name`` names. It is imported late, so that start-up stays fast."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
