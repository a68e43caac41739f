"""A row is data: it imports no code, names no file outside of its folder, and grants no permission."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks import capabilities
from mediamill.tasks.domain import Item
from mediamill.tasks.errors import BadInput
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.run.params import list_param_names, resolve_item_params, validate_params
from mediamill.tasks.sources.row_paths import RowPaths
from tests.helpers.cli_runs import mediamill, read_rows

_opened: list[str] = []
_recording = False


def _record_open(event: str, arguments: tuple[Any, ...]) -> None:
    if _recording and event == "open" and isinstance(arguments[0], str | os.PathLike):
        _opened.append(os.fspath(arguments[0]))


sys.addaudithook(_record_open)


@contextlib.contextmanager
def record_opened_files() -> Iterator[list[str]]:
    """The names of the files that are opened while the block runs."""
    global _recording  # noqa: PLW0603 - an audit hook cannot be removed
    _opened.clear()
    _recording = True
    try:
        yield _opened
    finally:
        _recording = False


@pytest.mark.parametrize("name", sorted(capabilities.BUILT_IN))
def test_no_parameter_of_a_row_opens_a_file_elsewhere_or_imports(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "canary.json").write_text('{"type": "object"}')
    (tmp_path / "canary.txt").write_text("secret")
    (tmp_path / "canary_module.py").write_text("raise SystemExit('imported by a row')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    capability, job = capabilities.get(name), make_job(capability=name, source=str(tmp_path / "data" / "m.csv"))
    params, row_paths = validate_params(capability, {}), RowPaths.of_source(job.source, allow_paths=False)
    paths = [
        spelling for file in ("canary.json", "canary.txt") for spelling in (file, f"../{file}", f"{tmp_path}/{file}")
    ]
    values = [
        *paths,
        *([path] for path in paths),
        *(json.dumps([path]) for path in paths),
        *({"image": path, "path": path, "sha256": "0" * 64, "$ref": path} for path in paths),
        *([{"image": path}] for path in paths),
        *(json.dumps({"image": path, "path": path}) for path in paths),
        "canary_module:Model",
        "{}/../canary.json",
    ]
    item = Item("i", 0, "m.csv row 1")
    for parameter in sorted(list_param_names(capability)):
        for value in values:
            with record_opened_files() as opened, contextlib.suppress(BadInput):
                resolve_item_params(capability, job, replace(item, params={parameter: value}), params, row_paths)
            assert not [path for path in opened if "canary" in path], (parameter, value)
    assert "canary_module" not in sys.modules


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(capability: str, source: Path, *options: str | Path, cwd: Path) -> Any:
    where = ("--provider", "local", "--out", cwd / "out", "--no-prefect")
    with contextlib.chdir(cwd):
        return mediamill(capability, source, *where, *options, home=cwd / "home")


@pytest.mark.long
def test_a_row_imports_nothing_and_reads_no_schema(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text("open('PLANTED', 'w')\n")
    (tmp_path / "schema.json").write_text('{"type": "object", "properties": {"a": {"type": "string"}}}')
    os.mkfifo(tmp_path / "pipe.json")
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    values = ["planted:Model", "schema.json", "pipe.json", "/dev/zero", json.dumps(schema), schema]
    rows = [{"id": str(n), "text": "hello", "json_schema": value} for n, value in enumerate(values)]
    rows.append(
        {"id": "more", "text": "hello", "json_schema": {"type": "object", "properties": {"b": {"type": "string"}}}}
    )
    done = run("complete", write_rows(tmp_path / "m.jsonl", *rows), "--schema", tmp_path / "schema.json", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert not (tmp_path / "PLANTED").exists()
    failures = {row["item_id"]: row["error_message"] for row in read_rows(tmp_path / "out", "failures")}
    assert "fields that the job's does not have: b" in failures.pop("more")
    assert sorted(failures) == ["0", "1", "2", "3"]
    for message in failures.values():
        assert "column 'json_schema'" in message
        assert "write it into the row as JSON, or give --schema for all rows" in message


@pytest.mark.long
def test_messages_of_a_row_name_no_file(tmp_path: Path) -> None:
    parts = [
        {"type": "picture", "input": 0},
        {"type": "image_url", "image_url": {"url": "FILE:///etc/passwd"}},
        {"type": "video_url", "video_url": "file:///etc/passwd"},
        {"text": "no type"},
        {"type": "text", "text": "file:///etc/passwd"},
    ]
    rows = [{"id": str(n), "messages": [{"role": "user", "content": [part]}]} for n, part in enumerate(parts)]
    done = run("complete", write_rows(tmp_path / "m.jsonl", *rows), cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    failures = {row["item_id"]: row["error_kind"] for row in read_rows(tmp_path / "out", "failures")}
    assert failures == dict.fromkeys("0123", "wrong_row")
    assert [row["item_id"] for row in read_rows(tmp_path / "out")] == ["4"]


@pytest.mark.long
def test_a_refused_path_is_taken_by_the_same_command_with_the_option(tmp_path: Path) -> None:
    folder, corpus = tmp_path / "data", tmp_path / "corpus.txt"
    folder.mkdir()
    corpus.write_text("one\ntwo\n")
    (folder / "near.txt").write_text("three\n")
    rows = [{"id": name, "query": "one", "corpus": name} for name in ("../corpus.txt", "near.txt", str(corpus))]
    source = write_rows(folder / "m.jsonl", *rows)
    done = run("rerank", source, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "add --allow-paths" in done.stdout + done.stderr
    assert {row["item_id"] for row in read_rows(tmp_path / "out")} == {"near.txt"}
    again = run("rerank", source, "--allow-paths", cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(read_rows(tmp_path / "out")) == 3


def test_a_row_grants_no_permission(tmp_path: Path) -> None:
    capability, job = capabilities.get("execute"), make_job(capability="execute", source="m.csv")
    item = Item("i", 0, "m.csv row 1", params={"allow_local_code": True})
    row_paths = RowPaths.of_source(str(tmp_path / "m.csv"), allow_paths=True)
    with pytest.raises(BadInput, match="column 'allow_local_code': it is a permission, which only the job gives"):
        resolve_item_params(capability, job, item, validate_params(capability, {}), row_paths)


@pytest.mark.long
def test_modules_of_the_working_folder_are_imported_only_where_python_is_given_it(tmp_path: Path) -> None:
    model = "from pydantic import BaseModel\nclass Tag(BaseModel):\n    name: str\n"
    (tmp_path / "shop_models.py").write_text(model)
    source = write_rows(tmp_path / "m.jsonl", {"id": "a", "text": "hello"})
    refused = run("complete", source, "--schema", "shop_models:Tag", cwd=tmp_path)
    assert refused.returncode == 2
    assert "imported only with PYTHONPATH=." in refused.stderr
