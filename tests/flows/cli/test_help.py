"""Help: examples that click takes, options by groups with short flags, and nothing heavy imported for it."""

from __future__ import annotations

import shlex

import click
import pytest

from mediamill.flows.cli.examples import EXAMPLES
from mediamill.flows.cli.main import COMMANDS, cli
from mediamill.tasks import capabilities
from tests.test_imports import run_and_list_packages


def get_command(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


def get_help(name: str) -> str:
    return get_command(name).get_help(click.Context(get_command(name), info_name=name, terminal_width=100))


def list_shown_flags(name: str) -> set[str]:
    params = [param for param in get_command(name).params if not getattr(param, "hidden", False)]
    return {flag for param in params for flag in (*param.opts, *param.secondary_opts)}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_a_command_are_lines_that_it_takes(name: str) -> None:
    assert name in COMMANDS or capabilities.is_known(name)
    assert "Examples:" in get_help(name)
    for line, meaning in EXAMPLES[name]:
        assert meaning
        program, word, *rest = shlex.split(line.removeprefix('eval "$(').removesuffix(')"').partition(" > ")[0])
        assert program == "mediamill"
        get_command(word).make_context(word, rest)


@pytest.mark.parametrize("name", [*capabilities.BUILT_IN, "run", "quote", "retry", "serve"])
def test_long_helps_have_examples_and_groups_and_every_option_once(name: str) -> None:
    text = get_help(name)
    headings = [line.removesuffix(":") for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings[0] == "Examples"
    assert headings[-1] == "Screen and log"
    assert "Options" not in headings
    described = [line for line in text[text.index("Examples:") :].splitlines() if line.startswith("  -")]
    for param in get_command(name).params:
        if isinstance(param, click.Option) and not param.hidden:
            assert sum(param.opts[0] in line.split("  ")[1].replace(",", " ").split() for line in described) == 1


@pytest.mark.parametrize(("short", "long"), [("-o", "--out"), ("-n", "--limit"), ("-q", "--quiet"), ("-y", "--yes")])
def test_common_options_have_short_names(short: str, long: str) -> None:
    option = next(param for param in get_command("caption").params if long in param.opts)
    assert option.opts == [short, long]


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [
        ("transcribe", {"--subtitles"}, {"--group", "--group-by", "--text-column"}),
        ("caption", {"--group", "--group-by"}, {"--subtitles", "--text-column"}),
        ("speak", {"--text-column"}, {"--subtitles", "--group"}),
        ("retry", {"--only", "--model"}, {"--config", "--limit", "--settle", "--path-column", "--out"}),
        ("run", {"--limit", "--out"}, {"--config"}),
    ],
)
def test_a_command_shows_only_the_options_that_mean_something_to_it(name: str, has: set[str], lacks: set[str]) -> None:
    flags = list_shown_flags(name)
    assert has <= flags
    assert not lacks & flags


def test_the_help_of_run_imports_no_capability() -> None:
    assert not {"jinja2", "av", "numpy", "pyarrow", "rich"} & run_and_list_packages("run", "--help")
