"""Folders whose names are not UTF-8: one clear line, and nothing is begun."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.cli_runs import mediamill


@pytest.mark.parametrize("option", ["source", "out", "journal"])
def test_a_folder_whose_name_is_not_text_is_named_as_such(option: str, tmp_path: Path) -> None:
    folders = {name: str(tmp_path / name) for name in ("source", "out", "journal")}
    folders[option] += os.fsdecode(b"\xff")
    arguments = (folders["source"], "--out", folders["out"], "--journal", folders["journal"])
    refused = mediamill("speak", *arguments, "--provider", "local", "--no-prefect", home=tmp_path / "home")
    assert (refused.returncode, f"{option}: has bytes that are not UTF-8" in refused.stderr) == (2, True)
    assert not (tmp_path / "out").exists()
