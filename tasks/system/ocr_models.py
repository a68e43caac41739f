"""The models that read text in images: those in RapidOCR's wheel (PP-OCRv6 by PaddlePaddle, Apache-2.0)."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from mediamill.tasks.errors import UsageError

RAPIDOCR = "rapidocr"
INSTALL_HINT = "install the extra: uv sync --extra ocr, or pip install 'mediamill[ocr]'"
_REVISION = 2
"""Counts changes of how pages are cut, turned and ordered."""
_PACKAGES = (RAPIDOCR, "onnxruntime")
_VARIABLE = "MEDIAMILL_OCR_IN_DESCRIPTIONS"
"""``0`` describes pictures without the text in them, which is quicker."""
_DETECTOR, _RECOGNISER = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"


@dataclass(frozen=True, slots=True)
class OcrModels:
    """The files of the models, which find lines of text and read them."""

    detector: Path
    recogniser: Path


@cache
def find_ocr_models() -> OcrModels:
    """The models. They are never downloaded.

    Raises:
        UsageError: when the extra is not installed, or its models are not there.
    """
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise UsageError(f"the package {missing[0]} is not installed, which reads text in images", hint=INSTALL_HINT)
    spec = find_spec(RAPIDOCR)
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "models"
    for name in (_DETECTOR, _RECOGNISER):
        if not (folder / name).is_file():
            raise UsageError(f"{RAPIDOCR} {version(RAPIDOCR)} has no model {name}", hint="install rapidocr again")
    return OcrModels(folder / _DETECTOR, folder / _RECOGNISER)


@cache
def name_ocr_engine() -> str:
    """What a page's text depends on: the version of RapidOCR the first digits of its models' SHA-256, our revision.

    Raises:
        UsageError: when the extra is not installed.
    """
    models = find_ocr_models()
    digest = hashlib.sha256(models.detector.read_bytes() + models.recogniser.read_bytes()).hexdigest()
    return f"{RAPIDOCR}-{version(RAPIDOCR)}+{digest[:16]}.{_REVISION}"


def is_ocr_installed() -> bool:
    """Whether text in images can be read here."""
    try:
        find_ocr_models()
    except UsageError:
        return False
    return True


def reads_described_pictures() -> bool:
    """Whether the text in a picture is read to describe it: where that can be done, and is not switched off."""
    return os.environ.get(_VARIABLE) != "0" and is_ocr_installed()
