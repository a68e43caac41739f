"""What a job names is a regular file of bounded size; YAML's aliases and depth are bounded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from mediamill.tasks.bounded.files import load_yaml_file, parse_yaml, read_bounded_file, read_bounded_text
from mediamill.tasks.bounded.values import MAX_DEPTH, check_depth
from mediamill.tasks.capabilities.text.documents import parse_corpus
from mediamill.tasks.capabilities.text.json_schema import load_json_value, load_schema
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job_loading import load_job, make_job
from mediamill.tasks.sources import open_source


def make_bomb(levels: int) -> str:
    """YAML of ``levels`` lists, each nine times the one before."""
    lines = ["l0: &l0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"l{n}: &l{n} [{','.join([f'*l{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (make_bomb(9), "more than 200,000 values, those counted that aliases repeat"),
        ("a: &a [" + "x," * 1000 + "x]\nb: {<<: [" + "*a," * 300 + "*a]}", "more than 200,000 values"),
        ("[" * 1000, f"nested more than {MAX_DEPTH} levels deep"),
        ("a: &a [*a]", "an alias stands inside of what it repeats"),
        ("a: 2024-99-99", "month must be in 1..12"),
        ("a: " + "9" * 5000, "Exceeds the limit"),
        ("a: !!python/object/apply:os.getpid []", "at line 1: could not determine a constructor"),
        ("a: [", "at line 1"),
        ("x" * 2_000_001, "larger than 2,000,000 characters"),
    ],
)
def test_yaml_that_grows_without_bound_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


def test_yaml_with_few_aliases_is_read_as_it_is() -> None:
    text = make_bomb(3) + "\nmore: {<<: {a: 1}, b: 2}\nwhen: 2024-02-03\n"
    assert parse_yaml(text) == yaml.safe_load(text)
    assert parse_yaml('{"a": [1, 2.5, null, "é"]}') == {"a": [1, 2.5, None, "é"]}
    assert parse_yaml("") is None


def test_only_regular_files_of_bounded_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    for name in ("pipe.yaml", "zero.yaml"):
        with pytest.raises(ValueError, match=f"{name} is not a file but a folder, pipe or device"):
            load_yaml_file(tmp_path / name)
        with pytest.raises(UsageError, match="is not a file but a folder, pipe or device"):
            load_job(tmp_path / name)
        with pytest.raises(ValueError, match="is not a file but a folder, pipe or device"):
            load_schema(str(tmp_path / name))
    (tmp_path / "ten.txt").write_bytes(b"0123456789")
    assert read_bounded_file(tmp_path / "ten.txt", 10) == b"0123456789"
    with pytest.raises(ValueError, match=r"ten\.txt is larger than 9 bytes"):
        read_bounded_file(tmp_path / "ten.txt", 9)
    (tmp_path / "utf16.txt").write_text("ä", encoding="utf-16")
    with pytest.raises(ValueError, match="is not text in UTF-8; save it as UTF-8"):
        read_bounded_text(tmp_path / "utf16.txt")


def test_a_manifest_or_corpus_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.csv")
    os.mkfifo(tmp_path / "c.txt")
    with pytest.raises(UsageError, match="is neither a file nor a folder"):
        open_source(make_job(capability="complete", source=str(tmp_path / "m.csv")), frozenset({"text"}), frozenset())
    with pytest.raises(ValueError, match="is not a file but a folder, pipe or device"):
        parse_corpus(str(tmp_path / "c.txt"))


def test_depth_is_bounded_wherever_a_value_comes_from(tmp_path: Path) -> None:
    nested = '{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1)
    (tmp_path / "deep.json").write_text(nested)
    for value in (nested, str(tmp_path / "deep.json")):
        with pytest.raises(ValueError, match=f"nested more than {MAX_DEPTH} levels deep"):
            load_schema(value)
    check_depth(load_json_value(nested[5:-1]))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ('{"$ref": "#"}', "refers to itself without end"),
        ('{"properties": {"a": {"allOf": [{"$ref": "#/properties/a"}]}}}', "refers to itself without end"),
        ('{"$dynamicRef": "http://127.0.0.1:1/x"}', "points to nothing in the schema"),
        ('{"properties": {"a": {"$id": "http://127.0.0.1:1/b"}}}', "only the whole schema may have an"),
    ],
)
def test_a_schema_stays_within_itself(schema: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_schema(schema)


def test_a_schema_holds_what_json_holds(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("type: object\ndefault: !!binary aGVsbG8=\n")
    with pytest.raises(ValueError, match="is not JSON: Type is not JSON serializable: bytes"):
        load_schema(str(tmp_path / "s.yaml"))
    (tmp_path / "s.yaml").write_text("type: object\ndefault: 2024-02-03\n")
    assert load_schema(str(tmp_path / "s.yaml")) == {"type": "object", "default": "2024-02-03"}


def test_a_schema_may_be_recursive_in_its_members() -> None:
    tree = {
        "type": "object",
        "properties": {"left": {"$ref": "#"}, "right": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    }
    assert load_schema(tree) == tree
