"""The command line: what a person types. Commands are found by name and imported only when they are used."""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from importlib.metadata import version

import click

from mediamill.flows.stderr import note, silence
from mediamill.tasks.errors import MediamillError

_COMMANDS = {
    "transcribe": ("mediamill.flows.commands.transcribe", "Recordings to transcripts with segments and words."),
    "translate": ("mediamill.flows.commands.translate", "Recordings to text in English or another language."),
    "speak": ("mediamill.flows.commands.speak", "Texts to audio files, long ones cut at sentences and joined."),
    "caption": ("mediamill.flows.commands.caption", "Pictures to captions, tags, or any answer about them."),
    "describe-video": ("mediamill.flows.commands.describe_video", "Videos to descriptions, or any answer about them."),
    "complete": ("mediamill.flows.commands.complete", "Prompts to answers, held to a schema where one is given."),
    "generate-video": ("mediamill.flows.commands.generate_video", "Prompts to videos, never paid twice."),
    "rerank": ("mediamill.flows.commands.rerank", "Documents in the order of how well they answer a query."),
    "embed": ("mediamill.flows.commands.embed", "Texts to vectors."),
    "generate-image": ("mediamill.flows.commands.generate_image", "Prompts to pictures."),
    "execute": ("mediamill.flows.commands.execute", "Cells of code to what they print, return and draw."),
    "quote": ("mediamill.flows.commands.quote", "What a job would cost, spending nothing."),
    "run": ("mediamill.flows.commands.run", "A job from a YAML file."),
    "status": ("mediamill.flows.commands.status", "What is done, failed and spent in an OUT."),
    "retry": ("mediamill.flows.commands.retry", "Failed items again; everything else untouched."),
    "report": ("mediamill.flows.commands.report", "Rebuild an OUT's page and cost tables."),
    "export": ("mediamill.flows.commands.export", "An OUT's results in one .csv, .jsonl or .parquet."),
    "serve": ("mediamill.flows.commands.serve", "The built-in provider as a server, for rehearsals and tests."),
    "models": ("mediamill.flows.commands.models", "Models and prices the configuration knows."),
    "up": ("mediamill.flows.commands.up", "A local Prefect server with its UI."),
    "down": ("mediamill.flows.commands.down", "Stop what up started."),
    "deploy": ("mediamill.flows.commands.deploy", "Jobs that Prefect schedules and a worker runs."),
    "doctor": ("mediamill.flows.commands.doctor", "Check this machine: packages, keys, disk, the built-in provider."),
}


class _Lazy(click.Group):
    """A group whose commands are imported when they are used, so that ``--help`` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        import difflib

        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("mediamill"), prog_name="mediamill")
def cli() -> None:
    """Batch media processing with hosted AI models.

    Quotes before it spends, holds a budget, and survives a crash with nothing lost or paid twice.
    """


def main() -> None:
    """Entry point of ``mediamill``. Exit codes: see ARCHITECTURE.md."""
    debug = "--debug" in sys.argv
    try:
        code = cli.main(prog_name="mediamill", standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.Abort:
        code = _refuse("stopped", None, 130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"see {context.command_path if context else 'mediamill'} --help"
        code = _refuse(error.format_message(), hint, error.exit_code)
    except MediamillError as error:
        if debug:
            traceback.print_exc()
        code = _refuse(error.message, error.hint, error.exit_code)
    except BrokenPipeError:
        silence(sys.stdout)
        code = 0
    except Exception as error:  # noqa: BLE001 (nobody sees a traceback unasked)
        if debug:
            traceback.print_exc()
        about = f"internal error: {type(error).__name__}: {error}"
        code = _refuse(about, "run it again with --debug for the traceback", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _refuse(message: str, hint: str | None, code: int) -> int:
    """Say why there is no result; with ``--json`` to the program that reads stdout, too."""
    note(f"mediamill: {message}")
    if hint:
        note(f"  {hint}")
    if "--json" in sys.argv:
        try:
            click.echo(json.dumps({"error": message, "hint": hint, "exit_code": code}))
        except OSError:
            silence(sys.stdout)
    return code


if __name__ == "__main__":
    main()
