"""The end of a run: counts that add up, links where a terminal shows them, and one next step on a terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mediamill.flows.cli.chain_end import print_chain_end
from mediamill.flows.cli.end_table import format_end_table
from mediamill.flows.cli.hyperlinks import supports_links
from mediamill.flows.cli.output import print_summary
from mediamill.tasks.pipeline.result import ChainResult, StepResult
from mediamill.tasks.summary import FailureGroup, Summary

VALUES: Mapping[str, Any] = {
    "run_id": "r",
    "out": "/data/shop",
    "state": "failures",
    "exit_code": 3,
    "capability": "caption",
    "provider": "together",
    "model": "m",
    "engine": None,
    "simulated": False,
    "total": 1000,
    "done": 990,
    "failed": 8,
    "cached": 6,
    "skipped": 200,
    "left": 2,
    "calls": 984,
    "audio_seconds": Decimal(0),
    "cost_usd": Decimal("1.5"),
    "unknown_max_usd": Decimal(0),
    "unstated": 0,
    "out_cost_usd": Decimal("2.25"),
    "seconds": 12.0,
    "out_total": 1200,
    "out_done": 1189,
    "out_failed": 9,
    "out_left": 2,
    "failures": (FailureGroup("timeout", 9, "a.jpg", "no answer", None),),
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def print_on_terminal(monkeypatch: pytest.MonkeyPatch, summary: Summary) -> list[str]:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    print_summary(summary, as_json=False)
    return screen.getvalue().splitlines()


def test_the_table_names_this_run_and_out_and_its_counts_add_up() -> None:
    headings, run, out = (line.split() for line in format_end_table(Summary(**VALUES)))
    assert headings == ["items", "done", "failed", "left", "cost", "reused", "unchanged"]
    assert run == ["this", "run", "1,000", "990", "8", "2", "$1.50", "6", "200"]
    assert out == ["OUT", "1,200", "1,189", "9", "2", "$2.25"]


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({}, "next:    mediamill retry /data/shop"),
        (
            {"failures": (FailureGroup("not_image", 9, "-a.jpg", "no image", None, retry_helps=False),)},
            "next:    mediamill explain /data/shop -- -a.jpg",
        ),
        ({"state": "stopped", "message": "the budget is spent", "hint": "raise it"}, None),
        ({"state": "done", "failures": ()}, None),
    ],
)
def test_a_terminal_gets_one_next_step(
    changes: dict[str, Any], step: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = print_on_terminal(monkeypatch, Summary(**{**VALUES, **changes}))
    assert [line for line in lines if line.startswith(("next:", "again:", "why:"))] == ([step] if step else [])


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "6800"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "4205"}, False),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode"}, True),
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "tmux", "TMUX": "/x,1,0", "VTE_VERSION": "6800"}, False),
        ({"TERM": "xterm"}, False),
        ({"TERM": "xterm", "FORCE_HYPERLINK": "1"}, True),
        ({"TERM": "xterm-kitty", "FORCE_HYPERLINK": "0"}, False),
        ({}, False),
    ],
)
def test_links_are_for_terminals_that_show_them(environ: dict[str, str], expected: bool) -> None:
    assert supports_links(environ) is expected


def test_a_path_is_a_link_and_its_name_cannot_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_HYPERLINK", "1")
    summary = Summary(**{**VALUES, "out": str(Path("/data/a b\x1b\\c"))})
    line = next(line for line in print_on_terminal(monkeypatch, summary) if line.startswith("report:"))
    assert line == (
        "report:  \x1b]8;;file:///data/a%20b%1B%5Cc/report.html\x1b\\/data/a b\\x1b\\c/report.html\x1b]8;;\x1b\\"
    )


def test_the_end_of_a_chain_has_a_row_for_each_step_and_a_stop_names_its_next_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    heard = StepResult("heard", rows=10, out=7, dropped=1, runs={"heard": Summary(**VALUES)})
    about = StepResult("about", rows=7)
    stopped = Summary(**{**VALUES, "state": "stopped", "failures": (), "out_done": 2, "out_failed": 1, "out_left": 4})
    about.runs["about"] = stopped
    about.stop(stopped, is_repeat=False)
    end = ChainResult(tmp_path, exit_code=4, steps=[heard, about], message="the chain's budget is reached", hint="more")
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    print_chain_end(end)
    lines = screen.getvalue().splitlines()
    assert lines[0].startswith("chain: stopped in about; ")
    assert lines[1].split() == ["in", "out", "failed", "dropped", "left", "cost", "passed", "unchanged"]
    assert lines[2].split() == ["heard", "10", "7", "2", "1", "0", "$2.25", "0"]
    assert lines[3].split() == ["about", "7", "2", "1", "0", "4", "$2.25", "0"]
    assert lines[-1] == "next:    more"
    assert "2 failed, 1 dropped" in end.to_run_end().lines[1]
