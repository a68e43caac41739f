"""``mediamill quote`` prints a quote and nothing else, whatever the libraries that read the files say."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from mediamill.flows.cli.commands.quote import command
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.run.quote import quote
from mediamill.tasks.run.resolved_job import resolve_job
from tests.helpers.cli_runs import make_wavs, mediamill
from tests.helpers.visual_samples import HOUSE


def test_what_a_library_says_of_a_broken_picture_is_no_part_of_a_quote(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "house.jpg").write_bytes(HOUSE.read_bytes())
    entries = [(256, 4, 1, 8), (257, 4, 1, 8), (277, 3, 1, 65535)]  # width, height, samples a pixel
    fields = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    (folder / "odd.tif").write_bytes(b"II*\0" + struct.pack("<IH", 8, len(entries)) + fields + bytes(4))
    done = mediamill("quote", "caption", folder, "--provider", "local", home=tmp_path / "home")
    assert (done.returncode, done.stderr) == (0, "")
    assert "quote: local, measure: 2 items to do" in done.stdout
    assert "1 item cannot be used" in done.stdout


def test_a_quote_needs_no_key_and_names_the_one_that_a_run_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    make_wavs(tmp_path / "in", 2)
    job = make_job(capability="transcribe", source=str(tmp_path / "in"), provider="together", settle=0)
    quoted = quote(job)
    assert (quoted.items, quoted.missing_key) == (2, "TOGETHER_API_KEY")
    assert quoted.high_usd
    assert quoted.high_usd > 0
    with pytest.raises(UsageError, match="TOGETHER_API_KEY is not set"):
        resolve_job(job)
    monkeypatch.setenv("TOGETHER_API_KEY", "k")
    assert quote(job).missing_key is None


def test_a_quote_without_a_capability_says_that_it_takes_recordings(tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_text("sku,photo\n1,a.jpg\n")
    with pytest.raises(UsageError, match="no column holds a path") as refused:
        command.main([str(tmp_path / "shop.csv")], standalone_mode=False)
    assert f"mediamill quote caption {tmp_path / 'shop.csv'}" in (refused.value.hint or "")
