"""Recordings with one speaker on each channel: which are taken apart, what that costs, and how they become one row."""

from __future__ import annotations

import json
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mediamill.tasks.capabilities.base import EVIDENCE
from mediamill.tasks.capabilities.speech.channel_choice import ChannelMode, choose_channels
from mediamill.tasks.capabilities.speech.channel_merge import merge_channels
from mediamill.tasks.capabilities.speech.recognition_params import TranscribeParams
from mediamill.tasks.capabilities.speech.speaker_names import rename_speakers
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Columns, Job
from mediamill.tasks.media.channel_analysis import ChannelAnalysis, analyze_channels
from mediamill.tasks.media.crosstalk import Leak, measure_leaks
from mediamill.tasks.run.resolved_job import resolve_job
from mediamill.tasks.sinks.subtitles.cues import build_cues
from tests.helpers.audio_files import syllables, to_wav
from tests.helpers.cli_runs import mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer

SECOND = 16_000


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together"}


def speak(*turns: tuple[float, float], seconds: float = 12.0, seed: int = 0) -> np.ndarray:
    """A channel with speech-like sound from start to end of each turn, and digital silence elsewhere."""
    sound, samples = syllables(seconds, seed=seed), np.zeros(round(seconds * SECOND), np.int16)
    for start, end in turns:
        samples[round(start * SECOND) : round(end * SECOND)] = sound[round(start * SECOND) : round(end * SECOND)]
    return samples


AGENT, CUSTOMER = speak((0, 4), (7, 9)), speak((4, 7), (9, 12), seed=1)


def write(path: Path, *channels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_wav(np.ascontiguousarray(np.stack(channels, axis=1)), channels=len(channels)))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def fade(samples: np.ndarray, db: float) -> np.ndarray:
    return (samples * 10 ** (-db / 20)).astype(np.int16)


@pytest.mark.parametrize(
    ("channels", "heard", "reason"),
    [
        ((AGENT, CUSTOMER), (1, 2), r"alone in 9\d% of the sound|alone in 100%"),
        ((AGENT + fade(CUSTOMER, 20), CUSTOMER + fade(AGENT, 20)), (1, 2), r", 20 dB above the others"),
        ((AGENT, CUSTOMER, speak((5, 6), seed=2) * 0), (1, 2), "alone in"),
        ((AGENT, AGENT * 0), (1,), "only channel 1 of 2 holds sound"),
        ((AGENT + CUSTOMER, AGENT + CUSTOMER), (), r"same sound \(correlation 1.00\)"),
        ((AGENT, fade(-AGENT, 15)), (), "same sound"),
        ((speak((0, 12)), speak((0, 12), seed=1)), (), "hardly ever alone"),
        ((speak((0, 12)), fade(speak((5, 6), seed=1), 14)), (), "2 is hardly ever alone; channel 1 is alone in"),
        ((speak((0, 11)), speak((1, 12), seed=1)), (), "sound together; one is alone in"),
        ((AGENT * 0, AGENT * 0), (), "none of the 2 channels holds sound"),
        ((AGENT,), (), "the recording has one channel"),
    ],
)
def test_channels_are_taken_apart_where_they_hold_one_voice_each(
    tmp_path: Path, channels: tuple[np.ndarray, ...], heard: tuple[int, ...], reason: str
) -> None:
    choice = choose_channels("auto", analyze_channels(write(tmp_path / "a.wav", *channels)))
    assert (choice.heard, choice.mode) == (heard, "split" if heard else "mix")
    assert re.search(reason, choice.reason), choice.reason


@pytest.mark.parametrize("mode", ["split", "auto"])
def test_who_asks_for_a_split_gets_one_of_any_stereo(tmp_path: Path, mode: ChannelMode) -> None:
    same = analyze_channels(write(tmp_path / "a.wav", AGENT, AGENT))
    choice = choose_channels(mode, same)
    assert (choice.heard, choice.is_same) == ((1, 2) if mode == "split" else (), True)


@pytest.mark.long
def test_each_side_is_sent_and_quoted_once_and_names_change_without_a_request(
    local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = write(tmp_path / "in" / "call.wav", AGENT, CUSTOMER).parent, tmp_path / "out"
    write(source / "one-sided.wav", AGENT, AGENT * 0)
    write(source / "same.wav", AGENT, AGENT)
    options = ("--channels", "auto", "--subtitles", "srt")
    paid = ("--provider", "together", "--base-url", local_server.origin)
    quoted = {}
    for mode in ("mix", "split", "auto"):
        shown = mediamill("transcribe", source, *paid, "--channels", mode, "--quote", "--json", home=tmp_path / "home")
        quoted[mode] = json.loads(shown.stdout)
    seconds = {
        mode: round(float(each["high_usd"]) / float(quoted["mix"]["high_usd"]), 3) for mode, each in quoted.items()
    }
    # The high end rounds each request up to a whole second.
    assert seconds == pytest.approx({"mix": 1.0, "split": 2.0, "auto": 2.0}, rel=0.05)
    low = {mode: float(each["low_usd"]) / float(quoted["mix"]["low_usd"]) for mode, each in quoted.items()}
    assert low == pytest.approx({"mix": 1.0, "split": 5 / 3, "auto": 4 / 3}, rel=0.01)
    done = transcribe(source, out, local_server.origin, *options, "--speaker-names", "agent,customer")
    assert done.returncode == 0, done.stderr
    bill = local_server.bill()
    assert len(bill["calls"]) == 4
    rows = {row["item_id"]: row for row in read_rows(out)}
    assert sum(row["cost_usd"] for row in rows.values()) == pytest.approx(sum_usd(bill))
    call = rows["call.wav"]
    assert (call["channel_mode"], call["pieces"], call["speakers"]) == ("split", 2, ["agent", "customer"])
    assert {word["speaker"] for word in call["words"]} == {"agent", "customer"}
    assert [part["start"] for part in call["segments"]] == sorted(part["start"] for part in call["segments"])
    assert call["speech_seconds"] == pytest.approx(12, abs=1)
    assert [channel["speech_seconds"] for channel in call["channels"]] == pytest.approx([6, 6], abs=1)
    assert [(each["sent"], each["speaker"]) for each in rows["one-sided.wav"]["channels"]] == [
        (True, "agent"),
        (False, "customer"),
    ]
    assert rows["one-sided.wav"]["warnings"] == ["channels: nothing is heard on 2 of 2, not sent"]
    assert (rows["same.wav"]["channel_mode"], rows["same.wav"]["channels"], rows["same.wav"]["speakers"]) == (
        "mix",
        None,
        None,
    )
    assert "agent: " in (out / call["files"][0]).read_text()
    names = tmp_path / "names.csv"
    names.write_text("item_id,label,name\n,channel 1,Ada\ncall.wav,channel 2,Bob\ncall.wav,S1,Eve\n")
    renamed = transcribe(source, out, local_server.origin, *options, "--speaker-names", str(names), "--replace")
    assert renamed.returncode == 0, renamed.stderr
    assert len(local_server.bill()["calls"]) == 4
    again = {row["item_id"]: row for row in read_rows(out)}
    assert again["call.wav"]["speakers"] == ["Ada", "Bob"]
    assert "Bob: " in (out / again["call.wav"]["files"][0]).read_text()
    assert again["call.wav"]["warnings"][-1].startswith("speaker_names: no speaker is labelled 'S1'; the labels are:")
    assert [row["request_key"] for row in again.values()] == [row["request_key"] for row in rows.values()]
    assert again["one-sided.wav"]["channels"][1]["speaker"] == "channel 2"


def sum_usd(bill: dict[str, Any]) -> Decimal:
    return Decimal(str(bill["usd"]))


@pytest.mark.long
def test_a_long_call_is_cut_on_each_channel_and_goes_on_after_a_kill(
    local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = write(tmp_path / "in" / "call.wav", np.tile(AGENT, 5), np.tile(CUSTOMER, 5)).parent, tmp_path / "out"
    options = ("--channels", "split", "--set", "piece_seconds=20", "--concurrency", "1")
    killed = transcribe(
        source, out, local_server.origin, *options, env={"MEDIAMILL_FAULTS": "call.replied.after:3:kill"}
    )
    assert killed.returncode == -9, killed.stderr
    done = transcribe(source, out, local_server.origin, *options)
    assert done.returncode == 0, done.stderr
    (row,) = read_rows(out)
    calls = [call["file_sha256"] for call in local_server.bill()["calls"] if call["billed"]]
    assert row["pieces"] == len(set(calls)) >= 8
    assert len(calls) <= len(set(calls)) + 1
    assert row["audio_seconds"] == pytest.approx(60)
    assert max(word["end"] for word in row["words"]) == pytest.approx(60, abs=0.5)
    assert {part["speaker"] for part in row["segments"]} == {"channel 1", "channel 2"}
    assert "cut in pauses" in mediamill("explain", out, "call.wav", home=tmp_path / "home").stdout


def analyze(*channels: np.ndarray) -> ChannelAnalysis:
    """An analysis of channels given as levels in dB by the second."""
    levels = np.array([np.repeat(each, 50) for each in channels], np.int8)
    return ChannelAnalysis(("FL", "FR"), levels, levels > -50, (0.0,))


def heard(*segments: tuple[float, str], words: bool = True, **more: Any) -> dict[str, Any]:
    """A channel's columns: segments of one second a word."""
    parts = [
        {"id": 0, "start": at, "end": at + len(text.split()), "text": text, "speaker": None} for at, text in segments
    ]
    spoken = [
        {"word": word, "start": at + n, "end": at + n + 1.0, "speaker": None, "confidence": None}
        for at, text in segments
        for n, word in enumerate(text.split())
    ]
    text = " ".join(text for _, text in segments)
    facts = {"language": "en", "warnings": [], "flags": [], "pieces": 1, "recipe": "flac", "speakers": None}
    facts |= {"speech_seconds": 1.0, EVIDENCE: {"unheard_share": 0.0, "avg_logprob": None}}
    return {**facts, "text": text, "segments": parts, "words": spoken if words else None, **more}


def test_a_word_between_is_put_where_it_was_said_in_text_and_subtitles() -> None:
    levels = np.array([-20.0] * 6), np.array([-20.0] * 6)
    merged = merge_channels(analyze(*levels), {1: heard((0.0, "So, this is it. Good?")), 2: heard((2.2, "Yes."))})
    assert merged["text"] == "So, this is Yes. it. Good?"
    assert [(part["speaker"], part["text"]) for part in merged["segments"]] == [
        ("channel 1", "So, this is"),
        ("channel 2", "Yes."),
        ("channel 1", "it. Good?"),
    ]
    assert [part["id"] for part in merged["segments"]] == [0, 1, 2]
    cues = build_cues(merged)
    assert [(cue.speaker, " ".join(cue.lines)) for cue in cues] == [
        ("channel 1", "channel 1: So, this is"),
        ("channel 2", "channel 2: Yes."),
        ("channel 1", "channel 1: it. Good?"),
    ]


@pytest.mark.parametrize("words", [True, False])
def test_what_came_over_from_a_louder_channel_is_left_out_and_told(words: bool) -> None:
    loud, quiet = np.array([-20.0, -20, -20, -45, -45, -20]), np.array([-40.0, -40, -40, -20, -20, -40])
    sides = {
        1: heard((0.0, "we are closed"), words=words),
        2: heard((0.0, "We are closed."), (3.0, "oh dear"), words=words),
    }
    analysis = analyze(loud, quiet)
    merged = merge_channels(analysis, sides, {(1, 2): leak(loud, quiet, level_db=20)})
    assert merged["text"] == "we are closed oh dear"
    assert merged["speakers"] == ["channel 1", "channel 2"]
    assert merged["warnings"] == [
        "crosstalk: 3 words are left out on channel 2, which it has from channel 1 (20 dB below it)"
    ]
    assert [channel["left_out"] for channel in merged["channels"]] == [None, "We are closed."]
    said_twice = "we are closed We are closed. oh dear"
    for others in ({}, {(1, 2): leak(loud, quiet, level_db=30)}, {(1, 2): leak(loud, loud, level_db=20)}):
        assert merge_channels(analysis, sides, others)["text"] == said_twice


def leak(source: np.ndarray, target: np.ndarray, *, level_db: float) -> Leak:
    """A leak of channels with these levels in dB by the second, whose sounds are alike nowhere."""
    powers = [np.repeat(10 ** (each / 10), 50).astype(np.float32) for each in (source, target)]
    return Leak(0, 1.0, level_db, np.stack([*powers, np.zeros_like(powers[0])]))


@pytest.mark.parametrize(
    ("side", "other", "found"),
    [
        (AGENT + fade(CUSTOMER, 25), CUSTOMER, {(2, 1): (0, 25)}),
        (AGENT, CUSTOMER + fade(np.roll(AGENT, 160), 20), {(1, 2): (160, 20)}),
        (AGENT, CUSTOMER, {}),
        (AGENT, CUSTOMER + fade(np.roll(AGENT, 4800), 14), {}),
        (speak((0, 12)), fade(speak((0, 12), seed=2), 14), {}),
    ],
)
def test_a_leak_is_measured_where_the_sound_of_the_other_channel_is_there(
    tmp_path: Path, side: np.ndarray, other: np.ndarray, found: dict[tuple[int, int], tuple[int, int]]
) -> None:
    leaks = measure_leaks(write(tmp_path / "a.wav", side, other), (1, 2))
    assert {pair: (each.lag, round(each.level_db)) for pair, each in leaks.items()} == found


def test_overlapping_speech_keeps_each_sides_words_together_in_subtitles() -> None:
    level = np.array([-20.0] * 8)
    sides = {1: heard((0.0, "one two three four")), 2: heard((2.5, "five six seven eight"))}
    merged = merge_channels(analyze(level, level), sides)
    assert [word["start"] for word in merged["words"]] == sorted(word["start"] for word in merged["words"])
    assert [" ".join(cue.lines) for cue in build_cues(merged)] == [
        "channel 1: one two three four",
        "channel 2: five six seven eight",
    ]


def test_without_times_the_sides_stand_one_behind_the_other() -> None:
    level = np.array([-20.0] * 8)
    sides = {n: heard((0.0, text), segments=None, words=False) for n, text in ((1, "hello there"), (2, "hi"))}
    merged = merge_channels(analyze(level, level), sides)
    assert (merged["text"], merged["segments"], merged["words"]) == ("hello there hi", None, None)
    assert merged["warnings"] == [
        "channels: the model gives no times, so what each side said stands one behind the other"
    ]


def test_a_manifests_column_channels_is_data_unless_the_job_says_that_it_is_the_parameter(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", AGENT, CUSTOMER)
    (tmp_path / "list.csv").write_text("path,channels,mode\na.wav,2,split\n")
    for columns, mode in ((Columns(), None), (Columns(params={"channels": "mode"}), "split")):
        job = Job(capability="transcribe", source=str(tmp_path / "list.csv"), out=str(tmp_path / "out"), settle=0)
        resolved = resolve_job(job.model_copy(update={"columns": columns}), needs_key=False)
        (item,) = resolved.open_source().items()
        assert (item.row["channels"], item.params.get("channels")) == ("2", mode)


def test_labels_within_a_channel_keep_its_name() -> None:
    columns = {
        "segments": [{"speaker": "channel 1:S0"}, {"speaker": "channel 2"}],
        "speakers": ["channel 1:S0", "channel 2"],
    }
    names = TranscribeParams.model_validate({"channels": "split", "speaker_names": ["desk", "caller"]}).speaker_names
    assert names is not None
    assert rename_speakers(columns, names, "a.wav")["speakers"] == ["desk:S0", "caller"]


def test_names_are_a_list_a_mapping_or_a_file(tmp_path: Path) -> None:
    def parse(value: Any) -> Any:
        return TranscribeParams.model_validate({"channels": "split", "speaker_names": value}).speaker_names

    by_label = (("*", "channel 1", "Ada"), ("a.wav", "S0", "Bob"))
    (tmp_path / "names.yaml").write_text('"*": {channel 1: Ada}\na.wav: {S0: Bob}\n')
    (tmp_path / "names.csv").write_text("item_id,label,name\n*,channel 1,Ada\na.wav,S0,Bob\n")
    for value in ({"*": ["Ada"], "a.wav": {"S0": "Bob"}}, str(tmp_path / "names.yaml"), str(tmp_path / "names.csv")):
        assert parse(value) == by_label
    assert parse([list(entry) for entry in by_label]) == by_label
    assert parse({"S0": "Bob"}) == (("*", "S0", "Bob"),)
    assert parse("Ada, Bob") == (("*", "channel 1", "Ada"), ("*", "channel 2", "Bob"))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"channels": "split", "speaker_names": "no/names.csv"}, "No such file"),
        ({"channels": "split", "speaker_names": [["a", "b"]]}, "is no name"),
        ({"channels": "split", "speaker_names": "agent,"}, "'' for 'channel 2' is no name"),
        ({"channels": "split", "speaker_names": "a,a"}, "'a' names channel 1 and channel 2"),
        ({"channels": "split", "speaker_names": 3}, "neither a list of names nor names by label"),
        ({"channels": "split", "pass_urls": True}, "lets the provider fetch the file"),
    ],
)
def test_what_names_nobody_is_refused_in_words(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TranscribeParams.model_validate(params)


def test_names_of_channels_for_a_mix_are_refused_in_words(tmp_path: Path) -> None:
    job = Job(capability="transcribe", source=str(tmp_path), params={"speaker_names": "agent,customer"})
    with pytest.raises(UsageError, match="say channels split or auto"):
        resolve_job(job, needs_key=False)


@pytest.mark.long
def test_names_that_name_nobody_are_told_once(local_server: RunningServer, tmp_path: Path) -> None:
    source, names = write(tmp_path / "in" / "a.wav", AGENT).parent, tmp_path / "names.csv"
    write(source / "b.wav", CUSTOMER)
    names.write_text("item_id,label,name\n,channel 1,Ada\nA.wav,channel 1,Bob\n")
    options = ("--channels", "auto", "--speaker-names", str(names))
    done = transcribe(source, tmp_path / "out", local_server.origin, *options)
    assert done.returncode == 0, done.stderr
    told = [line for line in (done.stderr + done.stdout).splitlines() if "speaker_names: " in line]
    assert len(told) == 2, told
    assert "no item has the id 'A.wav'" in told[0]
    assert "no speaker is labelled 'channel 1'; the labels are: none" in told[1]
