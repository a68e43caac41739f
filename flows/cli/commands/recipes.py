"""mediamill recipes: the ready jobs that come with mediamill."""

from __future__ import annotations

from typing import Any

import click

from mediamill.flows.cli.console import print_json, print_line
from mediamill.flows.cli.help_layout import HelpfulCommand


@click.command(
    "recipes",
    cls=HelpfulCommand,
    params=[
        click.Argument(["name"], required=False),
        click.Option(["--json", "as_json"], is_flag=True, help="print one JSON object instead of text"),
        click.Option(["--debug"], is_flag=True, expose_value=False, help="print tracebacks"),
    ],
)
def command(name: str | None, *, as_json: bool) -> int:
    """List the ready jobs, or print the file of one: NAME.

    `mediamill run recipe:NAME SOURCE` runs one. The printed file is a start for one of your own.
    """
    from mediamill.tasks.starters.recipes import PREFIX, find_job_file, list_recipes

    if name is not None:
        text = find_job_file(f"{PREFIX}{name.removeprefix(PREFIX)}").read_text(encoding="utf-8")
        if as_json:
            print_json({"name": name.removeprefix(PREFIX), "text": text})
            return 0
        for line in text.splitlines():
            print_line(line)
        return 0
    recipes = list_recipes()
    if as_json:
        values: list[dict[str, Any]] = [
            {
                "name": recipe.name,
                "summary": recipe.summary,
                "capabilities": list(recipe.capabilities),
                "provider": recipe.provider,
            }
            for recipe in recipes
        ]
        print_json({"recipes": values})
        return 0
    width = max(len(recipe.name) for recipe in recipes)
    for recipe in recipes:
        print_line(f"{recipe.name:<{width}}  {recipe.summary}")
    print_line("run one: mediamill run recipe:NAME SOURCE; print its file: mediamill recipes NAME")
    return 0
