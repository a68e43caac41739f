"""mediamill compare: an OUT against references, and against another OUT."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from mediamill.flows.cli.commands.compare import command
from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.out.comparison import compare
from mediamill.tasks.out.field_agreement import measure_nearness
from mediamill.tasks.out.text_errors import count_text_errors

SAID = ("The train leaves at nine.", "Wir müssen gehen, bitte!", "Colour is what we see")


def write_out(out: Path, capability: str, rows: list[dict[str, Any]]) -> Path:
    """An OUT with the columns that every result has, as far as a comparison needs them."""
    shared = {"capability": capability, "provider": "local", "model": "m", "latency_ms": 500}
    full = [
        {"item_id": f"id-{n}", "source": f"in/{n}.wav", "cost_usd": Decimal("0.25"), **shared, **row}
        for n, row in enumerate(rows)
    ]
    (out / "results").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(full), out / "results" / "part-0.parquet")
    return out


@pytest.fixture
def transcripts(tmp_path: Path) -> Path:
    texts = ("the train leaves at 9", "Wir müssen Gehen bitte", "color is what she sees")
    languages = ("en", "de", "en")
    return write_out(
        tmp_path / "out",
        "transcribe",
        [{"text": text, "language": language} for text, language in zip(texts, languages, strict=True)],
    )


def test_numbers_spelling_case_and_punctuation_are_no_errors(transcripts: Path, tmp_path: Path) -> None:
    reference = tmp_path / "right.csv"
    reference.write_text(
        f"file;speaker;sentence\n0.wav;Ada;{SAID[0]}\n1.wav;Bo;{SAID[1]}\n2.wav;Ada;{SAID[2]}\n9.wav;Bo;x\n"
    )
    found = compare(transcripts, reference)
    assert found.total is not None
    assert (found.total.words, found.total.substituted, found.total.left_out, found.total.added) == (14, 2, 0, 0)
    assert (found.without_reference, found.without_result, found.identical) == (0, 1, 2)
    assert found.by_group["language"]["de"][0].wer == 0
    assert found.by_group["speaker"]["Ada"][0].word_errors == 2
    assert found.total.replaced == {("we", "she"): 1, ("see", "sees"): 1}
    assert [item.item_id for item in found.list_worst()] == ["id-2"]


def test_the_command_prints_rates_and_the_worst_and_writes_all_items(transcripts: Path, tmp_path: Path) -> None:
    reference = tmp_path / "right.jsonl"
    lines = [{"recording": f"id-{n}", "right": text} for n, text in enumerate(SAID)]
    reference.write_text("\n".join(map(json.dumps, lines)))
    arguments = [str(transcripts), str(reference), "--key", "recording", "--text-column", "right"]
    printed = CliRunner().invoke(command, [*arguments, "--to", str(tmp_path / "all.parquet")])
    assert printed.exit_code == 0, printed.output
    assert "language en (2): WER 0.200" in printed.output
    assert "most often: we -> she 1" in printed.output
    rows = pq.read_table(tmp_path / "all.parquet").to_pylist()
    assert rows[0]["item_id"] == "id-2"
    assert rows[0]["wer"] == 0.4
    as_json = json.loads(CliRunner().invoke(command, [*arguments, "--json"]).output)
    assert (as_json["identical"], as_json["errors"]["substituted"]) == (2, 2)


def test_two_outs_are_compared_with_what_they_cost(transcripts: Path, tmp_path: Path) -> None:
    other = write_out(tmp_path / "other", "transcribe", [{"text": SAID[0], "language": "en", "cost_usd": None}])
    found = compare(transcripts, other)
    assert (len(found.items), found.without_reference) == (1, 2)
    assert [(side.cost_usd, side.seconds) for side in found.sides] == [(Decimal("0.75"), 0.5), (None, 0.5)]


def test_answers_are_compared_field_by_field(tmp_path: Path) -> None:
    rows = [{"colour": "red", "count": 4, "tags": ["a", "b"]}, {"colour": "Blue", "count": 3, "tags": ["c"]}]
    out = write_out(tmp_path / "out", "complete", rows)
    reference = tmp_path / "right.jsonl"
    right = [
        {"id": "id-0", "colour": "red", "count": 5, "tags": ["a"]},
        {"id": "id-1", "colour": "blue", "count": "3", "tags": ["c"]},
    ]
    reference.write_text("\n".join(map(json.dumps, right)))
    found = compare(out, reference)
    assert found.fields == {"colour": (1.0, 1.0), "count": (0.5, 0.9), "tags": (0.5, 0.75)}
    assert list(compare(out, reference, columns=("count",)).fields) == ["count"]
    with pytest.raises(NoSuchOption, match="did you mean 'count'"):
        compare(out, reference, columns=("cuont",))


def test_what_cannot_be_compared_is_refused_in_words(transcripts: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no results"):
        compare(tmp_path / "none", transcripts)
    (tmp_path / "others.csv").write_text("file,text\nz.wav,hello\n")
    with pytest.raises(UsageError, match="no item of"):
        compare(transcripts, tmp_path / "others.csv")
    (tmp_path / "unnamed.csv").write_text("a,text\nz.wav,hello\n")
    with pytest.raises(UsageError, match="no column says which item"):
        compare(transcripts, tmp_path / "unnamed.csv")
    (tmp_path / "textless.csv").write_text("file,b\n0.wav,hello\n")
    with pytest.raises(UsageError, match="no column has the right texts"):
        compare(transcripts, tmp_path / "textless.csv")


def test_what_is_added_to_silence_counts_and_words_without_spaces_are_characters() -> None:
    silence = count_text_errors("", "thanks for watching", "en")
    assert (silence.words, silence.added, silence.wer) == (0, 3, None)
    assert count_text_errors("今日は", "今日わ", "ja").words == 3


@pytest.mark.parametrize(
    ("reference", "value", "near"),
    [
        (None, None, 1.0),
        ("x", None, 0.0),
        (True, "true", 1.0),
        (2, 1, 0.5),
        ({"a": 1}, {"a": 1, "b": 2}, 0.5),
        ("kitten", "sitting", 1 - 3 / 7),
    ],
)
def test_nearness_follows_the_type(reference: Any, value: Any, near: float) -> None:
    assert measure_nearness(reference, value) == pytest.approx(near)
