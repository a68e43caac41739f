"""mediamill explain: print one item's whole story."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mediamill.flows.cli.completion import complete_out
from mediamill.flows.cli.console import print_json, print_line
from mediamill.flows.cli.help_layout import HelpfulCommand

if TYPE_CHECKING:
    from mediamill.tasks.explain.item_story import ItemStory


@click.command("explain", cls=HelpfulCommand)
@click.argument("out", type=click.Path(path_type=Path), shell_complete=complete_out)
@click.argument("item")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object instead of text; its times are UTC")
@click.option("--debug", is_flag=True, help="print tracebacks")
def command(out: Path, item: str, *, as_json: bool, debug: bool) -> int:  # noqa: ARG001
    """Print the whole story of one ITEM of OUT, also while a run works on it; for a chain, in each of its steps.

    ITEM is an id or the beginning of one, a path or file name, the index in the source, or words of its row. The story
    says what was prepared and why, each attempt with its waits, words and cost, what was reused from where, where its
    row and files are, why the item is as it is, and what to do.
    """
    from mediamill.flows.cli.story import print_story
    from mediamill.tasks.explain.explain import explain
    from mediamill.tasks.out.chain_steps import find_step_folders

    steps = find_step_folders(out)
    if not steps:
        story = explain(out, item)
        if as_json:
            print_json(story.as_dict())
        else:
            print_story(story)
        return 0
    stories = _explain_in_steps(out, item, steps)
    if as_json:
        print_json({name: story.as_dict() for name, story in stories.items()})
        return 0
    for name, story in stories.items():
        print_line(f"{name}:")
        print_story(story)
        print_line()
    return 0


def _explain_in_steps(out: Path, item: str, steps: list[Path]) -> dict[str, ItemStory]:
    """The item's story in every step that has it, by the steps' names.

    Raises:
        UsageError: when no step has it.
    """
    from mediamill.tasks.errors import UsageError
    from mediamill.tasks.explain.explain import explain

    out = out.expanduser()
    stories, errors = {}, []
    for folder in steps:
        try:
            stories[str(folder.relative_to(out))] = explain(folder, item)
        except UsageError as error:
            errors.append(error)
    if not stories:
        raise UsageError(f"no step of {out} has one item that {item!r} means; {errors[0].message}", hint=errors[0].hint)
    return stories
