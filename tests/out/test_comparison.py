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


def write_call(tmp_path: Path, *, speakers: tuple[str | None, str | None] = ("agent", "customer")) -> Path:
    """An OUT with one call of two speakers, and a recording of one."""
    said = ("Good morning, how can I help?", "My train was late."), ("Which train", "it")
    parts = [{"text": text, "speaker": speaker} for text, speaker in zip(said[0], speakers, strict=True)]
    words = [
        {"word": word, "speaker": speaker}
        for text, speaker in zip(said[0], speakers, strict=True)
        for word in text.split()
    ]
    rows: list[dict[str, Any]] = [
        {"text": " ".join(said[0]), "language": "en", "segments": parts, "words": words},
        {"text": SAID[0], "language": "en", "segments": None, "words": None},
    ]
    return write_out(tmp_path / "call", "transcribe", rows)


def test_the_speakers_of_a_call_are_compared_each_with_its_own_words(tmp_path: Path) -> None:
    out, right = write_call(tmp_path), tmp_path / "right.csv"
    right.write_text(
        "id;speaker;text\nid-0;agent;good morning how can i help\nid-0;customer;my plane was late\n"
        f"id-1;agent;{SAID[0]}\n"
    )
    printed = CliRunner().invoke(command, [str(out), str(right)]).output
    assert "2 items, 3 speakers in all, compared with" in printed
    assert "(0 without a reference, 0 of its rows without a result)" in printed
    assert "speaker agent (2): WER 0.000" in printed
    assert "speaker customer (1): WER 0.250" in printed
    assert "in/0.wav, customer" in printed
    right.write_text("id;speaker;text\nid-0;customer;my train was late\n")  # one row alone is about its speaker, too
    assert (alone := compare(out, right)).total is not None
    assert (alone.total.words, alone.total.word_errors, alone.without_reference) == (4, 0, 1)


def test_a_speaker_beside_others_who_is_not_in_the_result_said_nothing_there(tmp_path: Path) -> None:
    right = tmp_path / "right.csv"
    right.write_text("id;speaker;text\nid-0;agent;good morning how can i help\nid-0;boss;good bye\n")
    found = compare(write_call(tmp_path), right)
    assert found.total is not None
    assert (found.total.left_out, found.total.word_errors) == (2, 2)


def test_speakers_that_have_other_names_or_none_are_told(tmp_path: Path) -> None:
    out, right = write_call(tmp_path), tmp_path / "right.csv"
    right.write_text(f"id;speaker;text\nid-0;A;good morning\nid-0;B;late\nid-1;A;{SAID[0]}\n")
    printed = CliRunner().invoke(command, [str(out), str(right)]).output
    assert "not compared: in/0.wav: the references' speakers are A, B, the result's agent, customer" in printed
    assert "0 of its rows without a result" in printed
    (tmp_path / "two").mkdir()
    right.write_text("id;speaker;text\nid-0;A;good morning\nid-0;B;late\n")
    with pytest.raises(UsageError, match=r"in/0\.wav: .* the result's not told apart"):
        compare(write_call(tmp_path / "two", speakers=(None, None)), right)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("id;text\nid-0;a\nid-0;b\n", r"2 rows for in/0.wav \(item id-0\), and not each says who speaks"),
        ("id;speaker;text\nid-0;A;a\n0.wav;A;b\n", None),
        ("id;speaker;text\nid-0;A;a\nin/0.wav;A;b\n", r"2 rows for in/0.wav \(item id-0\), speaker A"),
    ],
)
def test_two_rows_about_the_same_are_refused(transcripts: Path, tmp_path: Path, rows: str, words: str | None) -> None:
    reference = tmp_path / "right.csv"
    reference.write_text(rows)
    if words is None:  # the second has only a file's name in common, of which another row has the id
        assert compare(transcripts, reference).without_result == 1
    else:
        with pytest.raises(UsageError, match=words):
            compare(transcripts, reference)


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
