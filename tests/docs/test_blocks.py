"""Every block of shell and Python on the pages runs as it stands there.

A block that needs a key says so in a comment before it, ``<!-- needs: TOGETHER_API_KEY -->``; here it runs with a key
that is made up, against the built-in server. What no test can run says why, ``<!-- only parsed: why -->``; test_pages
checks its commands. Of ``pytest`` lines the choice of tests is checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import RUN_ELSEWHERE, Block, iter_blocks, list_pages
from tests.docs.reader import Reader
from tests.helpers.local_server import RunningServer
from tests.helpers.paths import ROOT

_BLOCKS = {page: [block for block in iter_blocks(page) if block.language in ("sh", "python")] for page in list_pages()}
_PAGES = [
    page
    for page, blocks in _BLOCKS.items()
    if any(not block.only_parsed for block in blocks) and str(page.relative_to(ROOT)) not in RUN_ELSEWHERE
]


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"engine": "echo", "model": ["rerank-v4.0-fast", "whisper"]}


@pytest.mark.long
@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_runs(page: Path, tmp_path: Path, local_server: RunningServer) -> None:
    reader = Reader(tmp_path / "reader", local_server.origin)
    problems = [problem for block in _BLOCKS[page] if not block.only_parsed for problem in reader.run(block)]
    assert not problems, "\n".join(problems)


@pytest.mark.long
def test_a_block_that_fails_is_found(tmp_path: Path, local_server: RunningServer) -> None:
    reader = Reader(tmp_path / "reader", local_server.origin)
    block = Block("page.md", 3, "sh", "mediamill --version  # fine\n\nmediamill status NOWHERE\n")
    (problem,) = reader.run(block)
    assert problem.startswith("page.md:5: exit 2: mediamill status NOWHERE")


def test_every_python_block_is_python() -> None:
    blocks = [block for blocks in _BLOCKS.values() for block in blocks if block.language == "python"]
    assert blocks
    for block in blocks:
        assert compile(block.code, block.place, "exec")


@pytest.mark.parametrize(("page", "test"), RUN_ELSEWHERE.items())
def test_a_page_that_another_test_runs_is_named_there(page: str, test: str) -> None:
    assert (ROOT / page).exists()
    assert Path(page).name in (ROOT / test).read_text(encoding="utf-8")
