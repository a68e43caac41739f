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


def test_a_step_of_a_recipe_is_changed_in_a_file_of_ones_own(tmp_path: Path) -> None:
    refused = mediamill("run", "recipe:dataset", tmp_path, "--concurrency", "2", home=tmp_path / "home")
    assert refused.returncode == 2
    assert "mediamill recipes dataset > my-dataset.yaml" in refused.stderr
    assert "site-packages" not in refused.stderr


def test_the_option_of_a_capability_is_told_as_a_setting_where_a_command_is_for_all_of_them(tmp_path: Path) -> None:
    refused = mediamill("quote", "complete", tmp_path, "--prompt", "x", home=tmp_path / "home")
    assert (refused.returncode, "--set prompt=VALUE" in refused.stderr) == (2, True), refused.stderr


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
