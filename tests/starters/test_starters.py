"""What a new user starts from: samples, recipes, and a commented job, all of which work as they are."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from mediamill.flows.cli.main import cli
from mediamill.tasks import capabilities
from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.job_loading import load_job
from mediamill.tasks.pipeline.job_file import check_job_fields
from mediamill.tasks.python.job_arguments import to_job
from mediamill.tasks.run.params import validate_params
from mediamill.tasks.starters.job_template import make_job_template
from mediamill.tasks.starters.recipes import list_recipes
from mediamill.tasks.starters.samples import write_samples
from tests.helpers.paths import SAMPLES


@pytest.mark.parametrize("name", capabilities.BUILT_IN)
def test_a_job_to_fill_in_is_the_default_job_with_and_without_its_comments(name: str, tmp_path: Path) -> None:
    text, path = make_job_template(name, "job.yaml"), tmp_path / "job.yaml"
    path.write_text(text, encoding="utf-8")
    job = load_job(path)
    assert job == Job(capability=name, source=job.source)
    check_job_fields(yaml.safe_load(text), {})
    every = re.sub(r"^#(?=(?:  )?[a-z_]+:)", "", text, flags=re.MULTILINE)
    path.write_text(every, encoding="utf-8")
    full = load_job(path)
    ignored = {"params", "columns", "schedule"}
    assert full.model_dump(exclude=ignored) == job.model_dump(exclude=ignored)
    capability = capabilities.get(name)
    offered = {
        field for field in capability.params.model_fields if field not in {*Job.model_fields, "allow_local_code"}
    }
    assert set(full.params) == offered
    assert validate_params(capability, full.params) == validate_params(capability, {})
    assert full.schedule is not None


def test_every_recipe_is_a_job_or_a_chain_for_any_source(tmp_path: Path) -> None:
    recipes = {recipe.name: recipe for recipe in list_recipes()}
    assert {"alt-text", "dataset", "ocr"} <= set(recipes)
    for recipe in recipes.values():
        job = to_job(f"recipe:{recipe.name}", tmp_path, {"budget": 1})
        assert job.source == str(tmp_path)
        assert job.budget == Decimal(1)
        named = [job.capability] if isinstance(job, Job) else [task.capability for _, _, task in job.tasks()]
        assert tuple(named) == recipe.capabilities
        assert re.fullmatch(r"[A-Z][^\n]{10,118}\.", recipe.summary)


def test_a_recipe_without_a_source_says_where_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="mediamill samples samples"):
        cli.main(["run", "recipe:alt-text"], standalone_mode=False)
    with pytest.raises(UsageError, match="recipe:dataset needs a SOURCE"):
        to_job("recipe:dataset", None, {})
    with pytest.raises(NoSuchOption, match="did you mean 'alt-text'"):
        to_job("recipe:alttext", None, {})


def test_samples_are_written_once_and_never_over_other_files(tmp_path: Path) -> None:
    names = write_samples(tmp_path / "samples")
    assert write_samples(tmp_path / "samples") == names
    assert {path.relative_to(SAMPLES) for path in SAMPLES.glob("recordings/*")} <= set(names)
    assert not [name for name in names if name.suffix == ".py" or "broken" in name.parts]
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "texts.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"texts\.csv is there already"):
        write_samples(tmp_path / "own")
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["texts.csv"]
