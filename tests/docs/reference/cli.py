"""The reference of the command line, from click's own commands."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

import click

from mediamill.flows.cli.capability_command import make_capability_command
from mediamill.flows.cli.examples import EXAMPLES
from mediamill.flows.cli.main import COMMANDS, cli
from mediamill.flows.cli.options import make_job_options, make_run_options
from mediamill.tasks.capabilities import BUILT_IN
from mediamill.tasks.errors import EXIT_CODES
from tests.docs.reference.markdown import NOTE, escape, format_code, format_table, join_blocks

_SHARED = "options-of-every-run"


def make_cli_page() -> str:
    """Every command with its options, and the exit codes."""
    shared = [option for option in (*make_job_options(), *make_run_options()) if is_shown(option)]
    commands = {name: make_capability_command(name) for name in BUILT_IN} | {
        name: importlib.import_module(f"mediamill.flows.cli.commands.{name}").command for name in COMMANDS
    }
    return join_blocks(
        [
            NOTE,
            "# The command line",
            "`mediamill COMMAND --help` prints the same. `-h` and `--help` work everywhere.",
            format_table(
                ["command", "what it does"],
                [[f"[`{name}`](#mediamill-{name})", escape(get_summary(name))] for name in commands],
            ),
            "## Options of mediamill itself",
            format_options([option for option in cli.params if is_shown(option)]),
            "## Options of every run",
            "The commands below that name this section take these options.",
            format_options(shared),
            *(block for name, command in commands.items() for block in describe_command(name, command, shared)),
            "## Exit codes",
            format_table(["code", "meaning"], [[str(code), escape(words)] for code, words in EXIT_CODES.items()]),
        ]
    )


def get_summary(name: str) -> str:
    """A command in one line."""
    return COMMANDS.get(name) or BUILT_IN[name][1]


def is_shown(option: click.Parameter) -> bool:
    """True for a parameter that the help shows."""
    return not getattr(option, "hidden", False)


def describe_command(name: str, command: click.Command, shared: Sequence[click.Parameter]) -> list[str]:
    """The section of a command: usage, help, its own options, and which of the shared ones it has."""
    options = [option for option in command.params if isinstance(option, click.Option) and is_shown(option)]
    shared_rows = [describe_option(option) for option in shared if isinstance(option, click.Option)]
    own = [option for option in options if describe_option(option) not in shared_rows]
    taken = [row for row in shared_rows if row in [describe_option(option) for option in options]]
    arguments = [param.make_metavar(click.Context(command)) for param in command.params if _is_argument(param)]
    usage = " ".join(["mediamill", name, "[OPTIONS]", *arguments])
    examples = "\n".join(f"{line}\n    {meaning}" for line, meaning in EXAMPLES.get(name, ()))
    blocks = [f"## mediamill {name}", f"```\n{usage}\n```", *format_help(command.help), *format_help(command.epilog)]
    if examples:
        blocks.append(f"```\n{examples}\n```")
    if own:
        blocks.append(format_options(own))
    if len(taken) > len(shared_rows) // 2:
        own_names = [describe_option(option)[0] for option in own]
        missing = [row[0] for row in shared_rows if row not in taken and row[0] not in own_names]
        but = f", but not {', '.join(missing)}" if missing else ""
        blocks.append(f"And the [options of every run](#{_SHARED}){but}.")
    elif taken:
        blocks.append(format_table(_HEAD, taken))
    return blocks


def _is_argument(param: click.Parameter) -> bool:
    return isinstance(param, click.Argument)


def format_help(text: str | None) -> list[str]:
    """The paragraphs of a help text; those that click keeps as they are become code."""
    blocks = []
    for paragraph in inspect.cleandoc(text or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            blocks.append("```\n" + inspect.cleandoc(paragraph.removeprefix("\b\n")) + "\n```")
        else:
            blocks.append(escape(" ".join(paragraph.split())))
    return blocks


_HEAD = ["option", "value", "default", "meaning"]


def format_options(options: Sequence[click.Parameter]) -> str:
    """The table of options."""
    return format_table(_HEAD, [describe_option(option) for option in options if isinstance(option, click.Option)])


def describe_option(option: click.Option) -> list[str]:
    """An option's row: its names, what its value looks like, its default where click states one, and its meaning."""
    names = ", ".join(format_code(name) for name in (*option.opts, *option.secondary_opts))
    has_value = not (option.is_flag or option.count)
    value = format_code(option.make_metavar(click.Context(click.Command("mediamill")))) if has_value else ""
    notes = [escape(option.help or "")]
    if option.required:
        notes.append("required")
    return [names, value, format_code(_format_default(option)), "; ".join(notes)]


def _format_default(option: click.Option) -> str:
    """The default as text; empty where there is none, or where the meaning states it."""
    default: Any = option.default
    if option.is_flag or not option.show_default or not isinstance(default, str | int | float):
        return ""
    return str(default)
