"""The command line. Commands are found by name and imported only when they are used."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from mediamill.flows.cli.console import (
    open_closed_streams,
    print_json,
    print_note,
    print_traceback,
    redirect_to_null,
)
from mediamill.flows.cli.signals import StoppedBySignal, end_on_signal
from mediamill.tasks import capabilities
from mediamill.tasks.errors import JobFileError, MediamillError, StorageError
from mediamill.tasks.system.os_errors import build_storage_error

COMMANDS = {
    "quote": "Print what a job would cost; nothing is sent.",
    "run": "Run a job from a YAML file, or a recipe.",
    "samples": "Write small samples into a folder, to try things with.",
    "recipes": "List the ready jobs: mediamill run recipe:NAME SOURCE.",
    "init": "Write a commented job file to fill in.",
    "list": "List the OUTs there are: source, state, items, spend.",
    "status": "Print what is done, failed and spent in an OUT.",
    "explain": "Print one item's whole story: attempts, waits, costs, and why it is as it is.",
    "retry": "Do failed items again; everything else stays untouched.",
    "settle": "Book what was billed for requests whose answer was lost; frees the budget.",
    "report": "Rebuild an OUT's report and cost tables.",
    "compare": "Compare an OUT with references or with another OUT: word errors, fields that agree.",
    "export": "Write an OUT's results to one .csv, .jsonl or .parquet.",
    "serve": "Run the built-in provider as a server, for rehearsals and tests.",
    "models": "List the configured models with their prices.",
    "up": "Start a local Prefect server with its UI.",
    "down": "Stop the Prefect server and worker that up started.",
    "deploy": "Deploy jobs that Prefect schedules and a worker runs.",
    "completion": "Print the script that completes commands, options and values in a shell.",
    "doctor": "Check this machine: packages, keys, disk, the built-in provider.",
}
"""The commands that are not a capability's; each is in the file of its name in ``commands/``."""


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are used, so that ``--help`` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*(name for name in capabilities.list_names() if name not in COMMANDS), *COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            command: click.Command = importlib.import_module(f"mediamill.flows.cli.commands.{cmd_name}").command
            return command
        if not capabilities.is_known(cmd_name):
            return None
        from mediamill.flows.cli.capability_command import make_capability_command

        return make_capability_command(cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin so, none of them imported; or mediamill's own options."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        summaries = {name: COMMANDS.get(name) or capabilities.get_summary(name) for name in self.list_commands(ctx)}
        return [CompletionItem(name, help=text) for name, text in summaries.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            names = self.list_commands(ctx)
            formatter.write_dl([(name, COMMANDS.get(name) or capabilities.get_summary(name)) for name in names])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        import difflib

        name = args[0] if args else ""
        if ctx.resilient_parsing and not (name in COMMANDS or capabilities.is_known(name)):
            return None, None, []  # what is typed so far is being completed
        if name and not name.startswith("-") and name not in COMMANDS and not capabilities.is_known(name):
            suggestions = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f"; did you mean {suggestions[0]!r}?" if suggestions else ""
            ctx.fail(f"no command {name!r}{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a usage error names the command's own help, wherever click found it."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            name = ctx.invoked_subcommand
            command = self.get_command(ctx, name) if name and error.ctx in (None, ctx) else None
            if command is not None:
                error.ctx = click.Context(command, parent=ctx, info_name=name)
            raise
        except BrokenPipeError as error:  # click would end the process with 1 and no word
            if {*ctx.help_option_names} & {*sys.argv}:
                redirect_to_null(sys.stdout)  # it is help that nobody reads any more
                return 0
            raise build_storage_error(error, "a pipe to another program") from None


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="mediamill", prog_name="mediamill")
def cli() -> None:
    """Batch media processing with hosted AI models.

    Quotes before it spends, holds a budget, and survives a crash with nothing lost or paid twice.
    """


def main() -> None:
    """Entry point of ``mediamill``. Exit codes: see ARCHITECTURE.md."""
    debug = "--debug" in sys.argv
    _restart_in_utf8()
    open_closed_streams()
    _forbid_core_files()
    try:
        with end_on_signal(before_run=False):
            code = cli.main(prog_name="mediamill", standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.Abort as stop:
        if isinstance(stop.__cause__, EOFError):  # click takes one from anywhere for the end of a prompt's input
            code = _print_failure(stop.__cause__, debug=debug)
        else:
            code = _print_error("stopped", None, 130)
    except StoppedBySignal as stop:
        code = _print_error(str(stop), "run the same command again", stop.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        code = _print_usage_error(error)
    except Exception as error:  # noqa: BLE001 (a traceback is printed only with --debug)
        code = _print_failure(error, debug=debug)
    except SystemExit:
        code = 0  # click ends so when nobody reads its help any more; commands print through console
    sys.exit(code if isinstance(code, int) else 0)


def _restart_in_utf8() -> None:
    """Start again in Python's UTF-8 mode where file names are taken for ASCII: a locale of C with no coercion."""
    if sys.getfilesystemencoding() == "ascii":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 (our own arguments)


def _print_failure(error: Exception, *, debug: bool) -> int:
    """Print why the command failed: its own error, one of the operating system, or a bug. Return the exit code."""
    if debug:
        print_traceback()
    if isinstance(error, OSError):
        error = build_storage_error(error, str(error.filename or "the operating system"))
    if isinstance(error, JobFileError):
        return _print_error(error.message, error.mistakes, error.exit_code)
    if isinstance(error, MediamillError):
        return _print_error(error.message, error.hint, error.exit_code)
    message = f"internal error: {type(error).__name__}: {error}"
    return _print_error(message, "run it again with --debug for the traceback", 1)


def _forbid_core_files() -> None:
    """Leave no core file, of this process or of those it starts: their memory holds keys."""
    import resource

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _print_usage_error(error: click.ClickException) -> int:
    """Print what is wrong with the arguments, and which ``--help`` explains them."""
    context: click.Context | None = getattr(error, "ctx", None)
    path = context.command_path if context else "mediamill"
    if isinstance(error, click.NoSuchOption) and error.possibilities and context:
        shown = {
            name
            for option in context.command.params
            if not getattr(option, "hidden", False)
            for name in (*option.opts, *option.secondary_opts)
        }
        shown.update(context.help_option_names)
        suggestions = [name for name in error.possibilities if name in shown]
        error = click.NoSuchOption(error.option_name, error.message, possibilities=suggestions, ctx=context)
    message = " ".join(error.format_message().split())  # click writes choices on lines of their own
    return _print_error(message, f"see {path} --help", error.exit_code)


def _print_error(message: str, hint: str | Sequence[str] | None, code: int) -> int:
    """Print why there is no result and what to do; with ``--json`` also as JSON on stdout. Return the exit code."""
    print_note(f"mediamill: {message}", level="ERROR")
    for line in (hint,) if isinstance(hint, str) else hint or ():
        print_note(f"  {line}", level="ERROR")
    if "--json" in sys.argv:
        with contextlib.suppress(StorageError):  # stdout cannot be written: stderr said why there is no result
            text = hint if hint is None or isinstance(hint, str) else "; ".join(hint)
            print_json({"error": message, "hint": text, "exit_code": code})
    return code
