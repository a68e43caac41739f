"""Recordings that are spoiled in known ways, made of data/samples from a seed, with what is said in them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from tests.helpers.audio_files import to_wav
from tests.helpers.paths import SAMPLES

Samples = npt.NDArray[np.float32]
"""16 kHz mono, from -1 to 1."""

RATE = 16_000
_PAUSE_SECONDS = 0.4
_SENTENCES = 4
KINDS = {
    "loop": 8,
    "cut": 8,
    "noise": 6,
    "music": 4,
    "clipping": 4,
    "silence": 4,
    "level": 4,
    "lost-end": 2,
}
"""How many recordings are spoiled in each way. The transcripts of ``loop`` and ``cut`` are spoiled by the server."""
SPOILED_TWICE = 2
"""Of ``loop``, how many are spoiled in the second try, too, so that nothing can mend them."""


@dataclass(frozen=True, slots=True)
class SpoiledRecording:
    """A recording: its file's name, how it is spoiled, what is said, and whether a second try is spoiled, too."""

    name: str
    kind: str
    text: str
    is_spoiled_twice: bool = False

    def list_fault_rules(self) -> list[dict[str, object]]:
        """Rules that spoil its transcripts; none where its sound is spoiled."""
        faults = {"loop": "loop_text", "cut": "cut_text"}
        if self.kind not in faults:
            return []
        match: dict[str, object] = {"filename": self.name}
        return [
            {"match": match if self.is_spoiled_twice else {**match, "first": 1}, "fault": {"kind": faults[self.kind]}}
        ]


def write_spoiled_recordings(folder: Path, seed: int) -> list[SpoiledRecording]:
    """Write 40 recordings of about 17 s and return what they are; another seed has other sentences and noise."""
    rng, spoken = np.random.default_rng(seed), list(_load_samples())
    folder.mkdir(parents=True, exist_ok=True)
    recordings = []
    for kind, number in KINDS.items():
        for n in range(number):
            chosen = [spoken[i] for i in rng.choice(len(spoken), _SENTENCES, replace=False)]
            samples = np.concatenate([part for one, _ in chosen for part in (one, _pause(_PAUSE_SECONDS))])
            text = " ".join(sentence for _, sentence in chosen)
            name = f"{kind}-{n}.wav"
            spoiled = spoil(kind, samples, rng).clip(-1, 1)
            (folder / name).write_bytes(to_wav((spoiled * 32767).astype(np.int16)))
            recordings.append(SpoiledRecording(name, kind, text, kind == "loop" and n < SPOILED_TWICE))
    return recordings


def spoil(kind: str, samples: Samples, rng: np.random.Generator) -> Samples:
    """Speech as it is after noise, music, clipping, long silence, a far too low level, or with its end lost."""
    level = float(np.sqrt(np.mean(samples**2)))
    if kind == "noise":
        noise = rng.normal(0, 1, len(samples)).cumsum() if rng.random() < 0.5 else rng.normal(0, 1, len(samples))
        noise = np.diff(noise, prepend=0.0) + 0.02 * noise / (np.abs(noise).max() or 1)
        return _mix(samples, noise, level, db=float(rng.choice([0, -3, 3])))
    if kind == "music":
        at = np.arange(len(samples)) / RATE
        notes = rng.choice([220.0, 277.2, 329.6, 440.0, 554.4], len(samples) // (RATE // 4) + 1)
        pitch = np.repeat(notes, RATE // 4)[: len(samples)]
        tune = np.sign(np.sin(2 * np.pi * pitch * at)) + np.sin(np.pi * pitch * at)
        return _mix(samples, tune, level, db=float(rng.choice([0, -4])))
    if kind == "clipping":
        louder: Samples = samples / np.abs(samples).max() * np.float32(rng.choice([20, 40]))
        return louder.clip(-0.9, 0.9).astype(np.float32)
    if kind == "silence":
        cut = len(samples) // 2
        return np.concatenate([_pause(10), samples[:cut], _pause(20), samples[cut:], _pause(10)])
    if kind == "level":
        return (samples * float(rng.choice([0.003, 0.001]))).astype(np.float32)
    return samples[: round(len(samples) * 0.7)] if kind == "lost-end" else samples


def _mix(samples: Samples, other: npt.NDArray[np.float64], level: float, db: float) -> Samples:
    """Speech with something else, ``db`` louder than it."""
    scaled = other / np.sqrt(np.mean(other**2)) * level * 10 ** (db / 20)
    mixed: Samples = (samples + scaled).astype(np.float32)
    scaled_down: Samples = (mixed / max(1.0, float(np.abs(mixed).max()))).astype(np.float32)
    return scaled_down


def _pause(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.float32)


def _load_samples() -> Iterator[tuple[Samples, str]]:
    """The English samples, at 16 kHz, with what is said in them."""
    with (SAMPLES / "texts.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield _decode(SAMPLES / "recordings" / row["file"]), row["text"]


def _decode(path: Path) -> Samples:
    with av.open(str(path)) as source:
        resampler = av.AudioResampler("flt", "mono", RATE)
        frames = [part for frame in source.decode(audio=0) for part in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.float32)
