"""What pages name exists: files that links lead to, commands, and options."""

from __future__ import annotations

import functools
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mediamill.flows.cli.capability_command import make_capability_command
from mediamill.flows.cli.main import COMMANDS, cli
from mediamill.tasks.capabilities import BUILT_IN
from tests.docs.pages import RUN_ELSEWHERE, iter_blocks, iter_shell_lines, list_pages, read_prose
from tests.helpers.paths import ROOT

_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_OTHERS_OPTIONS = {
    *("--locked", "--group", "--extra", "--all-files", "--collect-only", "--durations", "--no-dev", "--all-extras"),
    *("--check", "--fix", "--runs", "--items", "--latency", "--in-flight", "--with", "--system", "--upgrade"),
}
"""Options of other programs (uv, pytest, pre-commit, the benchmarks) that pages name."""

_ALL_PAGES = list_pages()
PAGES = pytest.mark.parametrize("page", _ALL_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
PAGES_OF_OUR_COMMANDS = pytest.mark.parametrize(
    "page",
    [page for page in _ALL_PAGES if str(page.relative_to(ROOT)) not in RUN_ELSEWHERE],
    ids=lambda page: str(page.relative_to(ROOT)),
)


@functools.cache
def load_commands() -> dict[str, click.Command]:
    return {name: make_capability_command(name) for name in BUILT_IN} | {
        name: importlib.import_module(f"mediamill.flows.cli.commands.{name}").command for name in COMMANDS
    }


@PAGES
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    broken = []
    for match in _LINK.finditer(read_prose(page)):
        target, _, anchor = match["target"].partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        path = page.parent / target if target else page
        if not path.exists() or (anchor and anchor not in list_anchors(path)):
            broken.append(match["target"])
    assert not broken, f"{page.relative_to(ROOT)}: these links lead nowhere: {', '.join(broken)}"


def list_anchors(page: Path) -> set[str]:
    """The anchors that a page's headings have on GitHub."""
    headings = re.findall(r"^#+ (.+)$", read_prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@PAGES_OF_OUR_COMMANDS
def test_every_command_line_on_a_page_is_valid(page: Path) -> None:
    problems = [
        f"{page.relative_to(ROOT)}{place}: {problem}"
        for place, line in iter_command_lines(page)
        if (problem := find_problem(shlex.split(line)))
    ]
    assert not problems, "\n".join(problems)


def iter_command_lines(page: Path) -> Iterator[tuple[str, str]]:
    """Every ``mediamill ...`` of a page: in shell blocks, and in code within sentences, where ``...`` may stand."""
    for block in iter_blocks(page):
        if block.language != "sh":
            continue
        for number, line in iter_shell_lines(block):
            for command in split_commands(line):
                if command.startswith("mediamill "):
                    yield f":{number}", command
    for code in re.findall(r"`(mediamill [^`]+)`", read_prose(page)):
        command = " ".join(code.split())
        if "..." not in command and "COMMAND" not in command:
            yield "", command


def split_commands(line: str) -> list[str]:
    """The commands of a line of shell, without what runs them in the project's environment."""
    return [part.strip().removeprefix("uv run ").strip() for part in re.split(r"&&|;|\|\|?", line)]


def find_problem(words: list[str]) -> str | None:
    """Why click refuses a command line; None when it does not. Nothing is run."""
    if len(words) == 1 or words[1].startswith("-"):
        options = {name for option in cli.params for name in option.opts} | {"--help", "-h"}
        return None if set(words[1:]) <= options else f"{shlex.join(words)}: no such option of mediamill"
    command = load_commands().get(words[1])
    if command is None:
        return f"{shlex.join(words)}: no such command"
    try:
        command.make_context(words[1], words[2:], help_option_names=["-h", "--help"])
    except click.exceptions.Exit:  # of --help
        return None
    except click.exceptions.NoArgsIsHelpError:
        return None
    except click.MissingParameter as error:
        is_named_only = all(word.startswith("-") for word in words[2:])
        return None if is_named_only else f"{shlex.join(words)}: {error.format_message()}"
    except click.ClickException as error:
        return f"{shlex.join(words)}: {error.format_message()}"
    return None


@PAGES_OF_OUR_COMMANDS
def test_every_option_that_a_sentence_names_exists(page: Path) -> None:
    known = {
        name
        for command in [*load_commands().values(), cli]
        for option in command.params
        for name in (*option.opts, *option.secondary_opts)
    } | {"--help"}
    named = {
        option
        for code in re.findall(r"`([^`\n]+)`", read_prose(page))
        if not code.startswith(("uv ", "pip ", "python ", "git ", "uvx "))
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)
    }
    unknown = named - known - _OTHERS_OPTIONS
    assert not unknown, f"{page.relative_to(ROOT)} names options that no command has: {', '.join(sorted(unknown))}"


def test_a_wrong_command_line_is_found() -> None:
    assert find_problem(["mediamill", "transcribe", "x", "--no-such-option"])
    assert find_problem(["mediamill", "transscribe", "x"])
    assert find_problem(["mediamill", "transcribe", "x", "--limit", "many"])
    assert find_problem(["mediamill", "transcribe", "x", "--limit", "3"]) is None


@PAGES
def test_every_test_and_benchmark_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [name for name in re.findall(r"(?<![\w/])tests/[\w/]+(?:\.\w+)?(?:::\w+)?", text) if not is_test(name)]
    modules = set(re.findall(r"python -m (tests\.[\w.]+\w)", text))
    missing += [name for name in modules if not is_module(ROOT / name.replace(".", "/"))]
    assert not missing, f"{page.relative_to(ROOT)} names tests that do not exist: {', '.join(missing)}"


def is_test(name: str) -> bool:
    """Whether a file or folder of tests exists, and the function in it."""
    path, _, function = name.partition("::")
    return (ROOT / path).exists() and (not function or f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"))


def is_module(path: Path) -> bool:
    return path.with_suffix(".py").exists() or (path / "__main__.py").exists()


def test_every_provider_has_a_line_on_what_an_abandoned_request_may_cost() -> None:
    _, _, section = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8").partition("may cost |\n")
    table = section.partition("\n\n")[0]
    providers = sorted(path.stem for path in (ROOT / "configs" / "providers").glob("*.yaml"))
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == providers
