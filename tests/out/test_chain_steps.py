"""A chain's folder is no OUT: what is for one names the steps that are."""

from __future__ import annotations

from pathlib import Path

import pytest

import mediamill
from mediamill.tasks.errors import UsageError
from mediamill.tasks.out.settle import find_lost_requests


@pytest.mark.parametrize("call", [mediamill.status, mediamill.retry, find_lost_requests])
def test_a_chains_folder_is_told_with_its_steps(call: object, tmp_path: Path) -> None:
    for name in ("01-heard", "02-about/one"):
        journal = tmp_path / "steps" / name / ".journal"
        journal.mkdir(parents=True)
        (journal / "out_id").write_text("x")
    assert callable(call)
    with pytest.raises(UsageError) as caught:
        call(tmp_path)
    assert caught.value.message.startswith(f"{tmp_path} is a chain's")
    assert caught.value.hint == f"name one of them: {tmp_path}/steps/01-heard, {tmp_path}/steps/02-about/one"
