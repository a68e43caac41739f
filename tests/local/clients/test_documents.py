"""The Python blocks of the providers' guides run against the built-in server, each with the SDK it was written for.

The repository has a guide of its own with the same calls. Those of the providers are read where the machine has them.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.local_server import RunningServer
from tests.helpers.paths import OUTSIDE_DOCUMENTS
from tests.helpers.sandbox import needs_sandbox
from tests.helpers.transcription_requests import tone_wav
from tests.helpers.visual_samples import HOUSE
from tests.local.clients.document_blocks import KEY, SPEECH, Block, find_blocks, list_file_names, localize
from tests.local.clients.sdk_environments import Ended, Program, run_all

pytestmark = [pytest.mark.long, needs_sandbox]

FIRST, SECOND, THIRD = "1.6.0", "2.42.0", "3.1.1"
VERSIONS = {
    r'file=\w*"|file=audio_file|\bfile=(?:name|file)\b|stream_to_file|code_interpreter|voice\[|\.translations\.': FIRST,
    r"client\.videos": SECOND,
}
"""The version of ``together`` that has what a block calls; the newest for all others. Later versions take no path as
``file``, and neither code_interpreter.run nor frame_images and reference_images of videos."""
DEDICATED = ["me/Qwen/Qwen3-VL-8B-Instruct-0a1b"]
CANNOT = {
    r"audio\.speech\.create(?s:.)*response\.content": "no version's reply of audio.speech has the attribute content",
}
"""Blocks that fail with every version, and why."""


@pytest.fixture(scope="module")
def guide_options() -> dict[str, Any]:
    """What the blocks need: a server that ends a session, a dedicated model, and speech as the first SDK reads it."""
    return {"idle_seconds": "4s", "model": DEDICATED, "stream_shape": "item"}


def run_document(
    document: Path, servers: tuple[RunningServer, RunningServer], media: str, folder: Path
) -> dict[str, Ended]:
    """Run all blocks of a document; how each ended, by the line it begins on."""
    programs: dict[str, list[Program]] = {}
    for block in find_blocks(document):
        if any(re.search(pattern, block.text) for pattern in CANNOT):
            continue
        version = next((v for pattern, v in VERSIONS.items() if re.search(pattern, block.text)), THIRD)
        server = servers["code_interpreter" in block.text]
        programs.setdefault(version, []).append(_prepare(block, version, server.origin, media, folder))
    ended: dict[str, Ended] = {}
    for version, group in programs.items():
        ended |= run_all(version, group, folder)
    return ended


def _prepare(block: Block, version: str, origin: str, media: str, folder: Path) -> Program:
    place = folder / str(block.line)
    place.mkdir()
    for name in list_file_names(block.text):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".wav":
            path.write_bytes(tone_wav(3.0))
        else:
            shutil.copy(SPEECH if path.suffix == ".mp3" else HOUSE, path)
    keys = dict.fromkeys(("TOGETHER_API_KEY", "OPENAI_API_KEY", "GROQ_API_KEY", "XAI_API_KEY"), KEY)
    bases = {
        "TOGETHER_BASE_URL": f"{origin}/together" + ("" if version == THIRD else "/v1"),
        "GROQ_BASE_URL": f"{origin}/groq",
    }
    if "x.ai" not in block.text:
        bases["OPENAI_BASE_URL"] = f"{origin}/openai-api/v1"
    text = localize(block.text, origin, media, KEY)
    return Program(f"{block.document}:{block.line}", text, place, keys | bases)


def test_the_guide_of_the_repository(servers: tuple[RunningServer, RunningServer], media: str, tmp_path: Path) -> None:
    guide = Path(__file__).parent / "programs" / "guide.md"
    blocks = find_blocks(guide)
    ended = run_document(guide, servers, media, tmp_path)
    assert len(ended) == len(blocks) == 11
    assert {name: end.failure for name, end in ended.items() if end.failure} == {}
    printed = "".join(end.printed for end in ended.values())
    for expected in ("shown by show.py", "no network", "42\n", "of 520x300", "http://127.0.0.1"):
        assert expected in printed


@pytest.mark.parametrize("document", sorted(OUTSIDE_DOCUMENTS.glob("*.txt")) or [None], ids=lambda p: p and p.stem[:3])
def test_the_guides_of_the_providers(
    document: Path | None, servers: tuple[RunningServer, RunningServer], media: str, tmp_path: Path
) -> None:
    if document is None:
        pytest.skip("needs the providers' guides, which are not in the repository (MEDIAMILL_VENDOR_DOCUMENTS)")
    ended = run_document(document, servers, media, tmp_path)
    assert ended
    assert {name: end.failure for name, end in ended.items() if end.failure} == {}
