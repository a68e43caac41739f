"""The TypeScript and JavaScript blocks of the providers' guides run against the built-in server, each with its client.

The repository has a guide of its own with the same calls. Those of the providers are read where the machine has them.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.helpers.local_server import RunningServer
from tests.helpers.paths import OUTSIDE_DOCUMENTS
from tests.helpers.sandbox import needs_sandbox
from tests.helpers.transcription_requests import tone_wav
from tests.helpers.visual_samples import HOUSE
from tests.local.clients.document_blocks import KEY, SPEECH, Block, find_blocks
from tests.local.clients.node_blocks import LANGUAGES, list_file_names, localize
from tests.local.clients.node_programs import FIRST, NEWEST, NodeRunner
from tests.local.clients.sdk_environments import Ended, Program

pytestmark = [pytest.mark.proof, needs_sandbox]

NEEDS_FIRST = re.compile(r"together\.audio\.create|experimental_generateImage|new Agent\(\{\s+name")
"""Calls that the newest clients do not have, or not in this form."""
CANNOT = {
    r"CodeSandbox|sdk\.sandboxes|connectToSandbox|sandbox\.": "calls another product, whose API is not served here",
    r"Authorization': 'Bearer YOUR_API_KEY'": "is a table of headers, not a program",
    r"codeInterpreter\.run\(|const codeInterpreter =": "calls codeInterpreter.run, which no version has; is cut off",
    r"audio/speech/websocket": "waits for the server to end a session that it may go on with",
    r"togetherai\.textEmbedding\(": "calls textEmbedding, which neither 1.0.61 nor 3.0.54 of @ai-sdk/togetherai has",
    r"Readable\.from": "uses names that it does not import",
}
"""Blocks that never end or fail with every version, and why."""


def run_blocks(
    blocks: list[Block], servers: tuple[RunningServer, RunningServer], media: str, folder: Path
) -> dict[str, Ended]:
    """Run blocks one after the other; how each ended, by document and line."""
    ended = {}
    for block in blocks:
        runner = NodeRunner.prepare(FIRST if NEEDS_FIRST.search(block.text) else NEWEST)
        server = servers["codeInterpreter" in block.text]
        ended[f"{block.document}:{block.line}"] = runner.run(_prepare(block, server.origin, media, folder))
    return ended


def _prepare(block: Block, origin: str, media: str, folder: Path) -> Program:
    place = folder / str(block.line)
    place.mkdir()
    for name in list_file_names(block.text):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".wav":
            path.write_bytes(tone_wav(3.0))
        else:
            shutil.copy(SPEECH if path.suffix == ".mp3" else HOUSE, path)
    variables = dict.fromkeys(("TOGETHER_API_KEY", "OPENAI_API_KEY", "GROQ_API_KEY"), KEY) | {
        "TOGETHER_BASE_URL": f"{origin}/together/v1",
        "OPENAI_BASE_URL": f"{origin}/openai-api/v1",
        "GROQ_BASE_URL": f"{origin}/groq",
    }
    return Program(f"{block.document}:{block.line}", localize(block.text, origin, media), place, variables)


def assert_all_ended_well(ended: dict[str, Ended]) -> None:
    """None failed; else what each printed as it did."""
    failures = [f"{name}: {end.failure}" for name, end in ended.items() if end.failure]
    assert failures == [], "\n\n".join(failures)


def test_the_guide_of_the_repository(servers: tuple[RunningServer, RunningServer], media: str, tmp_path: Path) -> None:
    blocks = find_blocks(Path(__file__).parent / "programs" / "node_guide.md", LANGUAGES)
    ended = run_blocks(blocks, servers, media, tmp_path)
    assert_all_ended_well(ended)
    printed = "".join(end.printed for end in ended.values())
    missing = [word for block in blocks for word in re.findall(r"// prints: (.+)", block.text) if word not in printed]
    assert missing == []
    assert sum(server.bill()["requests"] for server in servers) >= len(blocks)


@pytest.mark.parametrize("document", sorted(OUTSIDE_DOCUMENTS.glob("*.txt")) or [None], ids=lambda p: p and p.stem[:3])
def test_the_guides_of_the_providers(
    document: Path | None, servers: tuple[RunningServer, RunningServer], media: str, tmp_path: Path
) -> None:
    if document is None:
        pytest.skip("needs the providers' guides, which are not in the repository (MEDIAMILL_VENDOR_DOCUMENTS)")
    blocks = find_blocks(document, LANGUAGES)
    ended = run_blocks(
        [block for block in blocks if not any(re.search(pattern, block.text) for pattern in CANNOT)],
        servers,
        media,
        tmp_path,
    )
    assert_all_ended_well(ended)
