"""Weights for faster-whisper by a model's name: ``whisper`` (base), ``whisper:NAME`` of the hub, ``whisper:FOLDER``."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from mediamill.tasks.errors import UsageError
from mediamill.tasks.system.whisper_base import BASE_SHA256, INSTALL_HINT, find_base_weights

WHISPER = "whisper"
COMPUTE_TYPE = "int8"
"""Weights are quantised to it as they are loaded: half the memory, and no more errors than with float32."""
_BASE_NAMES = ("", "base")
_NEEDED_FILES = ("model.bin", "config.json", "tokenizer.json")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights in CTranslate2's format: their folder, and the SHA-256 of ``model.bin`` in hexadecimal digits."""

    folder: Path
    sha256: str


def is_whisper(model: str) -> bool:
    """Whether a model is ``whisper``, or ``whisper:`` with the name of other weights."""
    return model.partition(":")[0] == WHISPER


def resolve_whisper_name(model: str) -> str:
    """The model's name as it means the same everywhere: a relative folder becomes absolute, base is ``whisper``."""
    name = model.partition(":")[2]
    if name in _BASE_NAMES:
        return WHISPER
    folder = Path(name).expanduser()
    return f"{WHISPER}:{folder.absolute()}" if folder.is_dir() else model


@cache
def find_weights(model: str) -> Weights:
    """The weights of a model; those of the hub are downloaded where they are not in the hub's cache.

    Raises:
        UsageError: when faster-whisper is not installed, or the weights are not there.
    """
    if find_spec("faster_whisper") is None:
        raise UsageError("the package faster-whisper is not installed", hint=INSTALL_HINT)
    name = resolve_whisper_name(model).partition(":")[2]
    if not name:
        return Weights(find_base_weights(), BASE_SHA256)
    folder = Path(name) if Path(name).is_dir() else _fetch_from_hub(name)
    missing = [file for file in _NEEDED_FILES if not (folder / file).is_file()]
    if missing:
        raise UsageError(
            f"{folder} holds no weights for faster-whisper: {', '.join(missing)} is missing",
            hint="name a folder in CTranslate2's format: ct2-transformers-converter makes one",
        )
    return Weights(folder, _hash_model(folder / "model.bin"))


def name_whisper_engine(model: str) -> str:
    """What a transcript depends on: the version of faster-whisper, the compute type, the first digits of the SHA-256.

    Raises:
        UsageError: when faster-whisper or the weights are not there.
    """
    is_base = resolve_whisper_name(model) == WHISPER
    if find_spec("faster_whisper") is None:
        raise UsageError("the package faster-whisper is not installed", hint=INSTALL_HINT)
    sha256 = BASE_SHA256 if is_base else find_weights(model).sha256
    return f"{WHISPER}-{version('faster-whisper')}+{COMPUTE_TYPE}+{sha256[:16]}"


def _fetch_from_hub(name: str) -> Path:
    """The folder of weights from Hugging Face's hub: a size, such as ``small``, or a repository, ``owner/name``."""
    from faster_whisper.utils import available_models, download_model

    if "/" not in name and name not in available_models():
        raise UsageError(
            f"no weights for whisper:{name}", hint=f"name a folder, owner/name, or: {', '.join(available_models())}"
        )
    try:
        return Path(download_model(name, local_files_only=True))
    except Exception:  # noqa: BLE001, S110 - not in the cache: the hub's library has no one error for it
        pass
    try:
        return Path(download_model(name))
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(
            f"the weights of whisper:{name} cannot be fetched from the hub: {reason}",
            hint="name a folder that holds them: --model whisper:FOLDER",
        ) from error


def _hash_model(path: Path) -> str:
    """SHA-256 of a file; the hub's cache has it as the file's name."""
    name = path.resolve().name
    if _SHA256.fullmatch(name):
        return name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
