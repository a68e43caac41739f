"""The live view fits the terminal, whatever its size and whatever the items are called; elsewhere a line tells."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.flows.cli.live_view import MIN_HEIGHT, MIN_WIDTH, LiveView
from mediamill.flows.cli.progress import make_line_printer
from mediamill.flows.cli.progress_text import format_progress
from mediamill.tasks.summary import FailureGroup, Outage, Progress
from mediamill.tasks.untrusted_text import escape_controls

PROGRESS = Progress(
    phase="run",
    total=1000,
    done=409,
    failed=3,
    cached=12,
    in_flight=16,
    spent=Decimal("0.421"),
    unknown_max=Decimal("0.01"),
    budget=Decimal(5),
    seconds=42.0,
    rate=9.8,
    eta_s=60.0,
    retried=7,
    rate_limited=2,
    max_in_flight=24,
    max_requests_per_second=12.0,
    projected=Decimal("1.02"),
    slowest_item="photo-17.jpg",
    slowest_seconds=14.0,
    last_failures=(FailureGroup("undecodable", 1, "photo-3.jpg", "the file ends early", None),),
)
OUTAGE = Outage("together", "2026-01-01T10:00:00", "HTTP 503", 3.0, "2026-01-01T10:10:00")


def draw(progress: Progress, width: int = 80, height: int = 24, *, has_blocks: bool = True) -> list[str]:
    view = LiveView("caption")
    view.update(progress)
    return [line.plain for line in view.format_lines(width, height, has_blocks=has_blocks)]


def test_the_view_shows_everything_that_a_watcher_asks() -> None:
    bar, *rows = draw(PROGRESS)
    assert bar.startswith("caption  ━")
    assert bar.endswith("  412 of 1,000 items  41 %")
    assert [row.split(maxsplit=1) for row in rows] == [
        ["items", "409 done, 12 of them reused, 3 failed, 7 retried"],
        ["requests", "16 in flight of at most 24, 2 refused as too many (429), now 12.0/s"],
        ["pace", "9.8 items/s"],
        ["cost", "$0.421 spent of $5.00, about $1.02 at the end, up to $0.01 more may …"],
        ["time", "42 s, about 1 min 00 s left"],
        ["slowest", "photo-17.jpg, for 14 s"],
        ["failed", "photo-3.jpg: the file ends early"],
    ]
    assert "#" in draw(PROGRESS, has_blocks=False)[0]


def test_an_outage_is_in_the_view_with_its_next_try() -> None:
    text = "\n".join(draw(replace(PROGRESS, outage=OUTAGE)))
    assert "together does not answer since 10:00:00 (HTTP 503)" in text
    assert "next try in 3 s, gives up at 10:10:00" in text
    assert " left" not in text


def test_a_run_that_waits_for_another_run_says_so() -> None:
    waiting = replace(PROGRESS, claimed_by_others=24)
    assert "24 wait for answers to another run" in "\n".join(draw(waiting))
    assert "24 wait for answers to another run" in format_progress(waiting)
    assert "another run" not in format_progress(PROGRESS)


@pytest.mark.parametrize(("width", "height"), [(MIN_WIDTH - 1, 24), (MIN_WIDTH, MIN_HEIGHT - 1), (20, 4)])
def test_a_small_terminal_gets_one_line(width: int, height: int) -> None:
    [line] = draw(PROGRESS, width, height)
    assert line.startswith("412/1000 items"[: width - 2])


@given(name=st.text(min_size=1, max_size=200), width=st.integers(1, 250), height=st.integers(1, 60))
def test_no_name_breaks_a_line_or_leaves_the_terminal(name: str, width: int, height: int) -> None:
    failure = FailureGroup("undecodable", 1, name, f"{name}: broken", None)
    view = LiveView(name)
    view.update(replace(PROGRESS, slowest_item=name, last_failures=(failure,) * 3))
    lines = view.format_lines(width, height)
    assert len(lines) <= max(height, 1)
    for line in lines:
        assert line.cell_len <= max(width - 1, 1)
        assert line.plain == escape_controls(line.plain)


def test_elsewhere_a_line_comes_every_half_minute_for_as_long_as_the_run_lasts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = [0.0]
    show = make_line_printer(lambda: now[0])
    for quarter in range(4 * 95):
        now[0] = quarter / 4
        show(replace(PROGRESS, done=quarter))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["123/1000", "243/1000", "363/1000"]


def test_what_a_library_writes_past_python_goes_to_the_debug_log() -> None:
    script = (
        "import os, sys\n"
        "from mediamill.flows.cli.library_noise import catch_library_noise\n"
        "from mediamill.flows.cli.log_output import configure_logging\n"
        "configure_logging({'verbose': int(sys.argv[1])})\n"
        "with catch_library_noise():\n"
        "    os.write(2, b'[mp3 @ 0x55] Header missing\\n')\n"
        "    print('ours', file=sys.stderr)\n"
        "os.write(2, b'afterwards\\n')\n"
    )
    for verbose, expected in ((0, ["ours", "afterwards"]), (2, ["a library says: [mp3 @ 0x55] Header missing"])):
        done = subprocess.run(
            [sys.executable, "-c", script, str(verbose)], capture_output=True, text=True, timeout=60, check=True
        )
        lines = done.stderr.splitlines()
        assert set(expected) <= {line.partition("mediamill.run: ")[2] or line for line in lines}
        assert len(lines) == (3 if verbose else 2)
