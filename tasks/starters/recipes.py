"""Recipes: the ready jobs and chains that come with mediamill, by the names of their files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mediamill import configs
from mediamill.tasks.bounded.files import load_yaml_file
from mediamill.tasks.errors import NoSuchOption, UsageError

PREFIX = "recipe:"
"""Begins the name of a recipe where a job file may be named, too."""

_FOLDER = Path(configs.__file__).parent / "jobs"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A ready job or chain.

    Attributes:
        name: for ``mediamill run recipe:NAME``.
        path: of its file.
        summary: what it does, the first sentence of the file.
        capabilities: what its steps do; a job has one.
        provider: the provider that it names; None where it is chosen by the keys that are set.
    """

    name: str
    path: Path
    summary: str
    capabilities: tuple[str, ...]
    provider: str | None


def list_names() -> list[str]:
    """The names of all recipes."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def list_recipes() -> list[Recipe]:
    """Every recipe, by name."""
    return [_load_recipe(_FOLDER / f"{name}.yaml") for name in list_names()]


def is_job_file(name: str) -> bool:
    """Whether a name is that of a recipe, or of a file of YAML."""
    return name.startswith(PREFIX) or name.endswith((".yaml", ".yml"))


def find_job_file(name: str) -> Path:
    """The file of ``recipe:NAME``; any other name is a path.

    Raises:
        NoSuchOption: with the nearest recipe there is.
    """
    if not name.startswith(PREFIX):
        return Path(name)
    recipe = name.removeprefix(PREFIX)
    if recipe not in list_names():
        raise NoSuchOption("recipe", recipe, list_names())
    return _FOLDER / f"{recipe}.yaml"


def check_source(name: str, source: str) -> None:
    """Refuse a recipe on the samples of a checkout, which its file names, where these are not.

    Raises:
        UsageError: when no other source was named.
    """
    if name.startswith(PREFIX) and source.startswith("data/samples/") and not Path(source).exists():
        hint = f"mediamill run {name} SOURCE; `mediamill samples samples` writes some to try it with"
        raise UsageError(f"{name} needs a SOURCE: there is no {source} here", hint=hint)


def _load_recipe(path: Path) -> Recipe:
    comment = re.match(r"(?:# ?[^\n]*\n)+", path.read_text(encoding="utf-8"))
    words = " ".join(line.lstrip("# ") for line in comment[0].splitlines()) if comment else ""
    summary = re.split(r"(?<=[.])\s|: mediamill run", words)[0].rstrip(".") + "."
    contents = load_yaml_file(path)
    assert isinstance(contents, dict), path
    if "steps" not in contents:
        return Recipe(path.stem, path, summary, (contents["capability"],), contents.get("provider"))
    tasks = [task for step in contents["steps"] for task in (step.get("task"), *(step.get("parallel") or {}).values())]
    return Recipe(path.stem, path, summary, tuple(task["capability"] for task in tasks if task), None)
