"""Options of a chain: one that belongs to a step is told where to write, and one that no step has is told as such."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.cli_runs import mediamill

CHAIN = """
source: in.csv
steps:
  - name: one
    task: {capability: complete, provider: local}
"""


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--concurrency", "2"), "write it into the step"),
        (("--set", "prompt=x"), "write it into the step"),
        (("--journal", "shared"), "--journal is no option of a chain, nor of its steps"),
    ],
)
def test_an_option_that_a_chain_lacks_is_refused_with_a_way_that_exists(
    option: tuple[str, str], words: str, tmp_path: Path
) -> None:
    (tmp_path / "chain.yaml").write_text(CHAIN)
    refused = mediamill("run", tmp_path / "chain.yaml", *option, "--out", tmp_path / "out", home=tmp_path / "home")
    assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr
