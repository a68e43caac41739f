"""Commands made from capabilities: their options, what may not be an option, and what a person permits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import click
import pytest
from pydantic import BaseModel, ConfigDict, Field

from mediamill.flows.cli.capability_command import make_capability_command, make_param_options, make_permission_options
from mediamill.flows.cli.main import cli
from mediamill.tasks import capabilities
from mediamill.tasks.capabilities.base import Capability
from mediamill.tasks.capabilities.parameters import Option
from mediamill.tasks.errors import UsageError
from mediamill.tasks.plugins import CAPABILITY_GROUP
from tests.calls.call_patterns.capabilities import PiecesCapability
from tests.helpers.cli_runs import mediamill, read_rows

SAMPLING = "--max-tokens --prompt --system --temperature --schema"
PUBLISHED_FLAGS = {
    "transcribe": "--diarize --language --no-diarize --no-normalize --no-trim --no-words --normalize --overlap --prompt"
    " --trim --words",
    "translate": "--language --no-normalize --no-trim --normalize --overlap --prompt --to --trim",
    "speak": "--format --instructions --language --sample-rate --speed --voice",
    "caption": f"{SAMPLING} --dedup --detail --fetch --no-fetch --reasoning-effort",
    "ocr": "--fetch --min-confidence --no-fetch",
    "describe-video": f"{SAMPLING} --audio-model --detail --every --frames --language --no-scenes --no-whole"
    " --no-with-audio --scenes --whole --window --with-audio",
    "complete": f"{SAMPLING} --n --reasoning-effort --tool-choice --tools",
    "generate-video": "--aspect-ratio --fps --guidance-scale --keyframes --negative-prompt --no-preview --output-format"
    " --preview --prompt --reference-images --resolution --seconds --seed --size --steps",
    "rerank": "--api-style --corpus --min-score --no-return-documents --query --rank-fields --return-documents"
    " --spelling --top-n",
    "embed": "--dimensions --template",
    "generate-image": "--aspect-ratio --guidance-scale --height --n --negative-prompt --output-format --prompt"
    " --quality --reference-images --resolution --response-format --seed --size --steps --width",
    "execute": "--allow-local-code --files --no-allow-local-code --session",
}
"""Flags that users' scripts may hold: none of them may be removed."""
SHARED_FLAGS = (
    "--allow-host --api-key-env --base-url --budget --concurrency --config --deadline --debug --endpoint-hourly"
    " --group --group-by --id-column --journal --json --limit --max-memory --memory --model --no-cache"
    " --no-prefect --out --path-column --prefect --provider --quiet --quote --refresh --replace --retries --rpm"
    " --run-deadline --set --shard-size --subtitles --text-column --timeout --yes"
)


def list_flags(command: click.Command) -> list[str]:
    options = [each for each in command.params if isinstance(each, click.Option)]
    return [flag for option in options for flag in (*option.opts, *option.secondary_opts)]


def test_every_built_in_capability_is_a_command_with_a_summary() -> None:
    assert PUBLISHED_FLAGS.keys() <= capabilities.BUILT_IN.keys()
    assert capabilities.BUILT_IN.keys() <= set(cli.list_commands(click.Context(cli)))
    for name in capabilities.BUILT_IN:
        assert capabilities.get_summary(name).endswith(".")


@pytest.mark.parametrize("name", PUBLISHED_FLAGS)
def test_no_published_option_is_missing_or_there_twice(name: str) -> None:
    command = make_capability_command(name)
    flags = list_flags(command)
    assert {*PUBLISHED_FLAGS[name].split(), *SHARED_FLAGS.split()} <= set(flags)
    assert len(flags) == len(set(flags))
    names = [each.name for each in command.params]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", PUBLISHED_FLAGS)
def test_every_parameter_is_an_option_unless_it_says_otherwise(name: str) -> None:
    capability = capabilities.get(name)
    options, fields = make_param_options(capability), capability.params.model_fields
    left_out = {"generate-video": {"model"}, "generate-image": {"model"}, "rerank": {"documents"}}
    shown = {field for field, option in options.items() if not option.hidden}
    assert shown == fields.keys() - left_out.get(name, set())
    for field in shown:
        assert options[field].help == fields[field].description
    assert make_capability_command(name).help == inspect.getdoc(type(capability))


def test_the_help_shows_choices_and_kinds_of_numbers() -> None:
    shown = {name: option.metavar for name, option in make_param_options(capabilities.get("speak")).items()}
    assert shown["format"] == "[mp3|wav|flac|opus]"
    assert (shown["speed"], shown["sample_rate"], shown["voice"]) == ("NUMBER", "N", "TEXT")


class HidingParams(BaseModel):
    """A parameter with the name of an option that every run has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(1, description="a limit of its own")


class RenamedParams(HidingParams):
    """The same with a flag of its own."""

    limit: Annotated[int, Option("--own-limit")] = Field(1, description="a limit of its own")


class HidingCapability(PiecesCapability):
    """Do something."""

    name = "hiding"
    params: type[BaseModel] = HidingParams


def test_a_parameter_that_would_hide_a_shared_option_is_refused(
    monkeypatch: pytest.MonkeyPatch, install_entry_points: Callable[[Mapping[str, Mapping[str, str]]], None]
) -> None:
    install_entry_points({CAPABILITY_GROUP: {"hiding": f"{__name__}:HidingCapability"}})
    with pytest.raises(UsageError, match="'limit'"):
        make_capability_command("hiding")
    monkeypatch.setattr(HidingCapability, "params", RenamedParams)
    with pytest.raises(UsageError, match="'limit'"):  # the flag differs, the parameter's name does not
        make_capability_command("hiding")


def test_permissions_are_marked_in_the_capabilitys_parameters() -> None:
    [option] = [each for each in make_permission_options() if each.name == "allow_local_code"]
    assert option.opts == ["--allow-local-code"]
    assert option.help is not None
    assert "execute" in option.help


@pytest.mark.parametrize("chained", [False, True], ids=["job", "chain"])
def test_run_takes_permission_options_for_a_file(chained: bool, tmp_path: Path) -> None:
    (tmp_path / "cells.csv").write_text("id,code\na,1 + 1\n")
    out = tmp_path / "out"
    head = f"source: {tmp_path / 'cells.csv'}\nout: {out}\n"
    task = "capability: execute, provider: local"
    steps = f"steps:\n- name: cells\n  task: {{{task}}}\n"
    (tmp_path / "job.yaml").write_text(head + (steps if chained else "capability: execute\nprovider: local\n"))
    refused = mediamill("run", tmp_path / "job.yaml", home=tmp_path / "home")
    assert refused.returncode == 2
    assert "allow" in refused.stderr
    done = mediamill("run", "--allow-local-code", tmp_path / "job.yaml", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = read_rows(out)
    assert len(found) == 1


def test_an_unknown_option_of_run_is_refused(tmp_path: Path) -> None:
    done = mediamill("run", "--alow-local-code", tmp_path / "job.yaml", home=tmp_path / "home")
    assert done.returncode == 2
    assert "--allow-local-code" in done.stderr


class UnusualParams(BaseModel):
    level: Literal[1, 2, 3] = 1
    many: list[int] = []
    pair: tuple[int, int] | None = None
    mapping: dict[str, int] | None = None
    plain: str | None = None


class UnusualCapability:
    """Takes odd things."""

    name = "odd"
    params = UnusualParams


def test_options_of_any_type_are_parsed() -> None:
    options = make_param_options(cast("Capability", UnusualCapability()))
    command = click.Command("odd", params=list(options.values()), callback=lambda **given: given)
    arguments = ["--level", "2", "--many", "[1, 2]", "--pair", "[3, 4]", "--mapping", "{a: 1}", "--plain", "[x]"]
    given = {name: value for name, value in command.main(arguments, standalone_mode=False).items() if value is not None}
    assert UnusualParams(**given) == UnusualParams(level=2, many=[1, 2], pair=(3, 4), mapping={"a": 1}, plain="[x]")


def test_a_flow_requires_the_required_parameters_of_a_capability() -> None:
    from mediamill.flows.prefect_runtime.flow_factory import _make_signature

    class NeedyParams(BaseModel):
        x: int

    assert _make_signature(NeedyParams).parameters["params"].default is inspect.Parameter.empty
    assert _make_signature(UnusualParams).parameters["params"].default.model_dump() == UnusualParams().model_dump()
