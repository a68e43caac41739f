"""How fast texts are ranked and embedded on this machine, and in how much memory.

    uv run python -m tests.bench.texts rank [--queries 2000] [--documents 50] [--runs 3]
    uv run python -m tests.bench.texts embed [--texts 100000 20000] [--runs 3]

The texts are random, from a seed. Rankings are held against bm25s called directly with the same words, ties by place;
memory is the most the process held at once (VmHWM), of the process that runs the command line alone.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SEED = 20261121
_SYLLABLES = "ba ke li mo nu ra se ti vo zu dra fen gol hir jam".split()  # noqa: SIM905


def words(rng: random.Random, count: int = 5000) -> list[str]:
    """Words of two to four syllables."""
    return ["".join(rng.choices(_SYLLABLES, k=rng.randint(2, 4))) for _ in range(count)]


class Writer:
    """Sentences whose words are as rare as words are: the n-th as often as 1/n."""

    def __init__(self, seed: int = SEED) -> None:
        self._rng = random.Random(seed)
        self._words = words(self._rng)
        self._weights = list(accumulate(1 / (n + 1) for n in range(len(self._words))))

    def text(self, min_words: int, max_words: int) -> str:
        """So many words."""
        count = self._rng.randint(min_words, max_words)
        return " ".join(self._rng.choices(self._words, cum_weights=self._weights, k=count))


def timed(*arguments: str | Path) -> tuple[float, int, float]:
    """Seconds the command line took, the most it held at once in MB, and seconds of processor with its server's."""
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "HOME": home}
        began, before = time.perf_counter(), os.times()
        command = [sys.executable, "-c", _WATCHED, *map(str, arguments)]
        done = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
        seconds, after = time.perf_counter() - began, os.times()
    found = re.search(rb"VmHWM:\s+(\d+) kB", done.stderr)
    assert found
    used = sum(after[2:4]) - sum(before[2:4])
    return seconds, int(found[1]) // 1024, used


def _line(run: int, measured: tuple[float, int, float]) -> str:
    return f"run {run + 1}: {measured[0]:.1f} s ({measured[2]:.1f} s of processor), {measured[1]} MB"


_WATCHED = """
import atexit, sys
from pathlib import Path
atexit.register(lambda: sys.stderr.write(Path("/proc/self/status").read_text()))
from mediamill.flows.cli.main import main
sys.argv[0] = "mediamill"
sys.exit(main())
"""


def rank(folder: Path, queries: int, documents: int, runs: int) -> None:
    """Queries with documents of their own."""
    writer = Writer()
    lists = [[writer.text(20, 60) for _ in range(documents)] for _ in range(queries)]
    table = {
        "id": [f"q{n:05d}" for n in range(queries)],
        "query": [writer.text(2, 5) for _ in range(queries)],
        "documents": lists,
    }
    pq.write_table(pa.table(table), folder / "queries.parquet")
    measured = []
    for n in range(runs):
        out = folder / f"out{n}"
        measured.append(timed("rerank", folder / "queries.parquet", "--provider", "local", "--out", out, "--yes"))
        found = pq.read_table(out / "results").to_pylist()
        wrong = sum(_differs(row, listed) for row, listed in zip(found, lists, strict=True))
        sys.stdout.write(
            f"run {n + 1}: {measured[-1][0]:.1f} s ({measured[-1][2]:.1f} s of processor), {measured[-1][1]} MB, "
            f"{wrong} rankings differ from bm25s\n"
        )
        assert not wrong
    seconds = statistics.median(each[0] for each in measured)
    sys.stdout.write(
        f"{queries} queries x {documents} documents: median {seconds:.1f} s, {queries / seconds:.0f} a second\n"
    )


def _differs(row: dict[str, object], documents: list[str]) -> bool:
    import bm25s

    index = bm25s.BM25()
    index.index(bm25s.tokenize(documents, stopwords="english", show_progress=False), show_progress=False)
    query_words = bm25s.tokenize([row["query"]], stopwords="english", return_ids=False, show_progress=False)[0]
    known = [word for word in query_words if word in index.vocab_dict]
    scores = [float(one) for one in index.get_scores(known)] if known else [0.0] * len(documents)
    expected = sorted(enumerate(scores), key=lambda pair: (-pair[1], pair[0]))
    ranking = row["ranking"]
    assert isinstance(ranking, list)
    return [(one["index"], one["relevance_score"]) for one in ranking] != expected


def embed(folder: Path, counts: list[int], runs: int) -> None:
    """Short texts, of which none is like another."""
    for count in counts:
        writer = Writer()
        texts = [f"{writer.text(5, 15)} {n}" for n in range(count)]
        source = folder / f"texts{count}.parquet"
        pq.write_table(pa.table({"id": list(map(str, range(count))), "text": texts}), source)
        measured = []
        for n in range(runs):
            out = folder / f"out{count}-{n}"
            measured.append(timed("embed", source, "--provider", "local", "--out", out, "--yes"))
            assert pq.read_table(out / "results", columns=["item_id"]).num_rows == count
            sys.stdout.write(_line(n, measured[-1]) + "\n")
            shutil.rmtree(out)
        seconds, memory, used = (statistics.median(column) for column in zip(*measured, strict=True))
        sys.stdout.write(f"{count} texts: median {seconds:.1f} s, {used:.1f} s of processor, {memory:.0f} MB\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=["rank", "embed"])
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--documents", type=int, default=50)
    parser.add_argument("--texts", type=int, nargs="+", default=[100_000, 20_000])
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if chosen.what == "rank":
            rank(Path(folder), chosen.queries, chosen.documents, chosen.runs)
        else:
            embed(Path(folder), chosen.texts, chosen.runs)


if __name__ == "__main__":
    main()
