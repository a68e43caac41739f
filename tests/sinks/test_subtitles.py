"""Subtitles: parsed by other libraries, and checked against the rules of cues."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import srt
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.sinks.subtitles.cues import MAX_LINES, build_cues
from mediamill.tasks.sinks.subtitles.display_width import MAX_LINE_WIDTH, measure_width
from mediamill.tasks.sinks.subtitles.formats import format_transcript
from tests.helpers.cli_runs import SENTINEL, make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer
from tests.helpers.paths import RECORDINGS

WORD = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["hello.", "-->", "<b>", "&amp;", "日本語の字幕です", "word" * 30, "\n\n1\n", "WEBVTT", "NOTE", "STYLE", "REGION"]
)
TIME = st.floats(0, 600, allow_nan=False)


@st.composite
def transcript_rows(draw: st.DrawFn) -> dict[str, Any]:
    words = draw(st.lists(st.tuples(WORD, TIME, TIME, st.sampled_from([None, "A", "B"])), max_size=40))
    parts = [{"word": w, "text": w, "start": a, "end": b, "speaker": who} for w, a, b, who in words]
    kind = draw(st.sampled_from(["words", "segments"]))
    speakers = draw(st.sampled_from([[], ["A", "B"]]))
    return {
        "item_id": "x",
        "text": " ".join(w for w, *_ in words),
        "audio_seconds": 9.0,
        kind: parts,
        "speakers": speakers,
    }


@given(transcript_rows())
def test_cues_are_ordered_disjoint_and_fit_their_lines(row: dict[str, Any]) -> None:
    cues = build_cues(row)
    for cue in cues:
        assert 0 <= cue.start < cue.end
        assert 1 <= len(cue.lines) <= MAX_LINES
        assert all(0 < measure_width(line) <= MAX_LINE_WIDTH for line in cue.lines)
    assert all(one.end < other.start for one, other in itertools.pairwise(cues))


@given(transcript_rows())
def test_other_libraries_parse_every_cue(row: dict[str, Any]) -> None:
    cues = build_cues(row)
    parsed = list(srt.parse(format_transcript(row, "srt").decode()))
    assert [(round(c.start.total_seconds(), 3), round(c.end.total_seconds(), 3)) for c in parsed] == [
        (c.start, c.end) for c in cues
    ]
    captions = webvtt.from_buffer(io.BytesIO(format_transcript(row, "vtt")))
    assert len(captions) == len(cues)
    assert orjson.loads(format_transcript(row, "json"))["text"] == row["text"]


INJECTED = [
    "a\n\n2\n00:00:00,000 --> 00:00:09,000\nforged",
    "a\r\n\r\n00:00.000 --> 00:09.000 line:0 align:start\r\nforged",
    "NOTE forged\n\nSTYLE\n::cue { color: red }\n\nREGION\nid:x",
    "a\u2028\u202800:00:00.000 --> 00:00:09.000\x0b\x0cforged",
    "<script>alert(1)</script><b>forged</b> {\\an8}{\\pos(0,0)} <v Someone>x",
]


@pytest.mark.parametrize("text", INJECTED)
def test_words_forge_no_cue_note_style_or_tag(text: str) -> None:
    row = {
        "text": text,
        "segments": [{"start": 0.0, "end": 5.0, "text": text, "speaker": text}],
        "speakers": ["A", "B"],
    }
    cues = build_cues(row)
    vtt, subrip = (format_transcript(row, name).decode() for name in ("vtt", "srt"))
    assert vtt.count("-->") == subrip.count("-->") == len(cues)
    assert len(list(srt.parse(subrip))) == len(webvtt.from_buffer(io.BytesIO(vtt.encode()))) == len(cues)
    for block in vtt.split("\n\n"):
        assert block.startswith("WEBVTT") or "-->" in block.splitlines()[0]
    assert not re.search(r"<[/a-zA-Z]", vtt)
    assert not re.search(r"<[/a-zA-Z]|\{\\", subrip)


def test_every_word_is_shown_at_its_time() -> None:
    spoken = [f"word{n}" + ("." if n % 9 == 8 else "") for n in range(60)]
    row = {"words": [{"word": w, "start": n * 0.4, "end": n * 0.4 + 0.3} for n, w in enumerate(spoken)]}
    cues = build_cues(row)
    assert " ".join(line for cue in cues for line in cue.lines).split() == spoken
    for cue in cues:
        first = spoken.index(cue.lines[0].split()[0])
        assert abs(cue.start - first * 0.4) < 0.002


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together"}


def test_a_cue_has_the_texts_punctuation_and_the_words_times() -> None:
    words = [
        {"word": word, "start": n * 0.4, "end": n * 0.4 + 0.3}
        for n, word in enumerate(["well", "he", "said", "its", "3", "00", "already", "lets", "go"])
    ]
    row = {"text": "Well, he said: it's 3:00 already. Let's go!", "words": words, "segments": [], "audio_seconds": 4.0}
    cues = build_cues(row)
    assert " ".join(line for cue in cues for line in cue.lines) == row["text"]
    assert (cues[0].start, cues[-1].lines[-1][-3:]) == (0.0, "go!")
    other = build_cues({**row, "text": "Something else was said."})
    assert " ".join(line for cue in other for line in cue.lines).split() == [word["word"] for word in words]


@pytest.mark.long
def test_subtitles_added_by_a_rerun_cost_nothing_and_rows_name_them(
    local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 3)
    out = tmp_path / "out"
    assert transcribe(tmp_path / "in", out, local_server.origin).returncode == 0
    later = transcribe(tmp_path / "in", out, local_server.origin, "--subtitles", "srt,vtt")
    assert later.returncode == 0, later.stderr
    assert local_server.bill()["requests"] == 3
    expected = sorted(f"media/{n:04d}{suffix}" for n in range(3) for suffix in (".srt", ".vtt"))
    assert sorted(str(path.relative_to(out)) for path in (out / "media").iterdir()) == expected
    assert sorted(file for row in read_rows(out) for file in row["files"]) == expected
    gone = next((out / "media").glob("*.srt"))
    content = gone.read_bytes()
    gone.unlink()
    assert transcribe(tmp_path / "in", out, local_server.origin, "--json").returncode == 0
    assert gone.read_bytes() == content
    assert SENTINEL.encode() not in content


def test_all_four_formats_are_written_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    out, home = tmp_path / "out", tmp_path / "home"
    done = mediamill(
        *("transcribe", RECORDINGS / "friends.wav", "--provider", "local", "--out", out),
        *("--subtitles", "srt,vtt,txt,json"),
        home=home,
    )
    assert done.returncode == 0, done.stderr
    files = {path.suffix: path for path in (out / "media").iterdir()}
    assert set(files) == {".srt", ".vtt", ".txt", ".json"}
    text = orjson.loads(files[".json"].read_bytes())["text"]
    shown = " ".join(cue.content for cue in srt.parse(files[".srt"].read_text(encoding="utf-8"))).split()
    assert shown == text.split() == files[".txt"].read_text(encoding="utf-8").split()
    wrong = mediamill("transcribe", RECORDINGS, "--out", out, "--subtitles", "ass", home=home)
    assert wrong.returncode == 2
    assert "subtitles" in wrong.stderr
