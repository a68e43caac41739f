"""Rankings on the command line: every API style, every way to name documents, and the costs."""

from __future__ import annotations

import csv
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import bm25s
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.capabilities.capability_runs import METERED, PRICES, RANKER, SEARCHER, run_capability
from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.local_server import RunningServer
from tests.helpers.run_checks import assert_bill_within_ledger_bounds, assert_ledger_equals_bill, assert_no_key_in
from tests.helpers.tiers import mark_rest_long

WORDS = [
    "river",
    "bridge",
    "stone",
    "winter",
    "market",
    "letter",
    "garden",
    "engine",
    "copper",
    "island",
    "window",
    "forest",
    "harbour",
    "silver",
    "thunder",
]


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"engine": "bm25s", "price": PRICES}


def random_texts(count: int, seed: int = 3) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=6)) for _ in range(count)]


def rank_with_bm25(query: str, documents: list[str]) -> list[tuple[int, float]]:
    """The ranking of bm25s itself; ties are ordered by position."""
    index = bm25s.BM25()
    index.index(bm25s.tokenize(documents, stopwords="english", show_progress=False), show_progress=False)
    query_tokens = bm25s.tokenize([query], stopwords="english", return_ids=False, show_progress=False)[0]
    known = [word for word in query_tokens if word in index.vocab_dict]
    scores = [float(score) for score in index.get_scores(known)] if known else [0.0] * len(documents)
    return sorted(enumerate(scores), key=lambda pair: (-pair[1], pair[0]))


def write_queries(path: Path, lists: list[list[Any]], queries: list[str]) -> Path:
    """Write queries with their documents, in the format of the file name's suffix."""
    table = [{"id": f"q{n}", "query": q, "documents": d} for n, (q, d) in enumerate(zip(queries, lists, strict=True))]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(table), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, table)))
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "query", "documents"])
            writer.writerows([row["id"], row["query"], json.dumps(row["documents"])] for row in table)
    return path


QUERIES = ["stone bridge", "winter garden harbour", "nothing of it"]

SPELLINGS: list[Any] = [
    ("together", RANKER, ()),
    ("cohere", SEARCHER, ()),
    ("cohere", METERED, ()),
    ("cohere", SEARCHER, ("--api-style", "cohere-v1")),
    ("compatible", "any", ()),
    ("compatible", "any", ("--api-style", "tei")),
    ("compatible", "any", ("--api-style", "cohere")),
]


@pytest.mark.parametrize(("provider", "model", "options"), mark_rest_long(SPELLINGS, [SPELLINGS[1]]))
def test_every_spelling_gives_the_ranking_of_bm25(
    provider: str, model: str, options: tuple[str, ...], local_server: RunningServer, tmp_path: Path
) -> None:
    lists = [random_texts(7, seed) for seed in range(3)]
    out, source = tmp_path / "out", write_queries(tmp_path / "q.jsonl", lists, QUERIES)
    done = run_capability(
        "rerank", source, out, local_server, "--model", model, "--top-n", "4", *options, provider=provider
    )
    assert done.returncode == 0, done.stderr + done.stdout
    for row, documents in zip(read_rows(out), lists, strict=True):
        expected = rank_with_bm25(row["query"], documents)[:4]
        assert [(one["index"], one["relevance_score"]) for one in row["ranking"]] == expected
        assert [one["rank"] for one in row["ranking"]] == [1, 2, 3, 4]
        assert [one["document"] for one in row["ranking"]] == [documents[place] for place, _ in expected]
        assert (row["documents"], row["top_score"], row["top_document"]) == (
            7,
            expected[0][1],
            documents[expected[0][0]],
        )
        assert all((one["band"] is None) == (provider != "together") for one in row["ranking"])
    assert local_server.bill()["billed"] == 3
    if provider != "compatible":
        assert_ledger_equals_bill(out, local_server)
    assert_no_key_in(tmp_path, done.stdout, done.stderr)
    again = run_capability(
        "rerank", source, out, local_server, "--model", model, "--top-n", "4", *options, provider=provider
    )
    assert (again.returncode, local_server.bill()["requests"]) == (0, 3)


@pytest.mark.parametrize("name", mark_rest_long(["q.csv", "q.parquet", "q.jsonl"], []))
def test_objects_are_ranked_by_the_given_fields(name: str, local_server: RunningServer, tmp_path: Path) -> None:
    objects = [{"title": "stone", "body": "bridge"}, {"title": "bridge", "body": "x"}, {"title": "y"}]
    source = write_queries(tmp_path / name, [objects, objects[:2]], ["bridge", "bridge"])
    for provider, model in (("together", RANKER), ("cohere", SEARCHER)):
        options = ("--model", model, "--rank-fields", "title")
        done = run_capability("rerank", source, tmp_path / provider, local_server, *options, provider=provider)
        assert done.returncode == 0, done.stderr + done.stdout
        rows = read_rows(tmp_path / provider)
        assert [row["ranking"][0]["index"] for row in rows] == [1, 1]
        assert json.loads(rows[0]["top_document"]) == objects[1]
    misnamed = run_capability(
        "rerank", source, tmp_path / "wrong", local_server, "--model", RANKER, "--rank-fields", "body"
    )
    assert misnamed.returncode == 3
    (failed,) = read_rows(tmp_path / "wrong", "failures")
    assert "document 2 has none of the fields body" in failed["error_message"]


@pytest.mark.parametrize("name", mark_rest_long(["c.txt", "c.jsonl", "c.json", "c.csv"], ["c.jsonl"]))
def test_queries_share_a_corpus(name: str, local_server: RunningServer, tmp_path: Path) -> None:
    documents = random_texts(12)
    corpus = tmp_path / name
    if name == "c.txt":
        corpus.write_text("\n".join(documents))
    elif name == "c.jsonl":
        corpus.write_text("\n".join(json.dumps({"text": one}) for one in documents))
    elif name == "c.json":
        corpus.write_text(json.dumps(documents))
    else:
        corpus.write_text("\n".join(["text", *documents]))
    (tmp_path / "q.csv").write_text("query\nstone bridge\nwinter garden\n")
    options = ("--corpus", corpus, "--model", RANKER, "--top-n", "2")
    done = run_capability("rerank", tmp_path / "q.csv", tmp_path / "out", local_server, *options)
    assert done.returncode == 0, done.stderr + done.stdout
    for row in read_rows(tmp_path / "out"):
        assert [one["index"] for one in row["ranking"]] == [
            place for place, _ in rank_with_bm25(row["query"], documents)[:2]
        ]
    corpus.write_text(corpus.read_text().replace("stone", "sand"))
    changed = run_capability("rerank", tmp_path / "q.csv", tmp_path / "out", local_server, *options)
    assert changed.returncode == 2
    assert "Traceback" not in changed.stderr


@pytest.mark.long
def test_too_many_documents_are_split_when_scores_can_be_merged(local_server: RunningServer, tmp_path: Path) -> None:
    source = write_queries(
        tmp_path / "q.jsonl", [[f"{word} {n}" for n, word in enumerate(random_texts(2300))]], ["stone bridge"]
    )
    options = ("--model", SEARCHER, "--top-n", "5")
    done = run_capability("rerank", source, tmp_path / "out", local_server, *options, provider="cohere")
    assert done.returncode == 0, done.stderr + done.stdout
    (row,) = read_rows(tmp_path / "out")
    assert local_server.bill()["billed"] == 3
    assert (row["documents"], len(row["ranking"])) == (2300, 5)
    scores = [entry["relevance_score"] for entry in row["ranking"]]
    assert scores == sorted(scores, reverse=True)
    assert_ledger_equals_bill(tmp_path / "out", local_server)
    assert Decimal(local_server.bill()["usd"]) == Decimal("0.002") * 23
    local_server.reset()
    refused = run_capability("rerank", source, tmp_path / "no", local_server, "--model", "any", provider="compatible")
    assert (refused.returncode, local_server.bill()["requests"]) == (3, 0)
    (failed,) = read_rows(tmp_path / "no", "failures")
    assert "2300 documents are more than the 1000 of one request" in failed["error_message"]
    forced = ("--model", "any", "--set", "comparable=true", "--concurrency", "1")
    assert (
        run_capability("rerank", source, tmp_path / "yes", local_server, *forced, provider="compatible").returncode == 0
    )


def test_rows_that_cannot_be_ranked_fail_alone(local_server: RunningServer, tmp_path: Path) -> None:
    lines = [
        {"query": "stone", "documents": ["a stone", "the"]},
        {"query": "", "documents": ["a"]},
        {"query": "stone", "documents": []},
        {"query": "stone"},
        {"query": "stone", "documents": ["a", ""]},
        {"query": "stone", "documents": "not a list"},
        {"query": "the", "documents": ["the", "a"]},
        {"query": "stone", "documents": [1, 2.5]},
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = run_capability("rerank", tmp_path / "q.jsonl", tmp_path / "out", local_server, "--model", RANKER)
    assert done.returncode == 3, done.stderr
    assert [row["item_index"] for row in read_rows(tmp_path / "out")] == [0, 6, 7]
    assert {row["item_index"] for row in read_rows(tmp_path / "out", "failures")} == {1, 2, 3, 4, 5}
    assert not any("internal" in row["error_kind"] for row in read_rows(tmp_path / "out", "failures"))


def test_top_n_and_min_score_buy_nothing_new(local_server: RunningServer, tmp_path: Path) -> None:
    source = write_queries(tmp_path / "q.jsonl", [random_texts(9)], ["stone bridge"])
    shared = ("--model", RANKER, "--journal", tmp_path / "journal")
    assert run_capability("rerank", source, tmp_path / "all", local_server, *shared).returncode == 0
    few_ = run_capability(
        "rerank", source, tmp_path / "few", local_server, *shared, "--top-n", "2", "--min-score", "0.1"
    )
    assert few_.returncode == 0, few_.stderr
    assert local_server.bill()["requests"] == 1
    every, best = read_rows(tmp_path / "all")[0], read_rows(tmp_path / "few")[0]
    assert (len(every["ranking"]), every["cached"]) == (9, False)
    assert (best["ranking"], best["cached"], best["cost_usd"]) == (every["ranking"][:2], True, 0)


@pytest.mark.long
def test_after_a_kill_nothing_is_paid_twice(local_server: RunningServer, tmp_path: Path) -> None:
    source = write_queries(tmp_path / "q.jsonl", [random_texts(5, n) for n in range(30)], ["stone bridge"] * 30)
    options = ("--model", SEARCHER, "--concurrency", "4")
    killed = run_capability("rerank", source, tmp_path / "out", local_server, *options, provider="cohere",
                 MEDIAMILL_FAULTS="call.replied.after:9:kill")  # fmt: skip
    assert killed.returncode == -9
    done = run_capability("rerank", source, tmp_path / "out", local_server, *options, provider="cohere")
    assert (done.returncode, len(read_rows(tmp_path / "out"))) == (0, 30)
    assert local_server.bill()["billed_again"] <= 4
    assert_bill_within_ledger_bounds(tmp_path / "out", local_server.bill()["usd"])


@pytest.mark.long
def test_the_upper_end_of_a_quote_is_not_exceeded(local_server: RunningServer, tmp_path: Path) -> None:
    source = write_queries(tmp_path / "q.jsonl", [random_texts(150, n) for n in range(3)], QUERIES)
    for provider, model in (("cohere", SEARCHER), ("cohere", METERED), ("together", RANKER)):
        local_server.reset()
        out = tmp_path / model.replace("/", "-")
        quoted = run_capability(
            "rerank", source, out, local_server, "--model", model, "--quote", "--json", provider=provider
        )
        assert (quoted.returncode, local_server.bill()["requests"]) == (0, 0), quoted.stderr
        assert run_capability("rerank", source, out, local_server, "--model", model, provider=provider).returncode == 0
        assert 0 < Decimal(local_server.bill()["usd"]) <= Decimal(json.loads(quoted.stdout)["high_usd"])


@pytest.mark.long
def test_the_built_in_provider_ranks_for_free(tmp_path: Path) -> None:
    source = write_queries(tmp_path / "q.parquet", [random_texts(20, n) for n in range(3)], QUERIES)
    out = tmp_path / "out"
    done = mediamill("rerank", source, "--provider", "local", "--out", out, "--yes", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    for n, row in enumerate(read_rows(out)):
        scores = [(entry["index"], entry["relevance_score"]) for entry in row["ranking"]]
        assert scores == rank_with_bm25(row["query"], random_texts(20, n))
    written = mediamill("export", out, "--to", tmp_path / "long.csv", "--long", home=tmp_path / "home")
    assert written.stdout.startswith("60 rows"), written.stderr
    with (tmp_path / "long.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert [row["rank"] for row in listed[:20]] == [str(n) for n in range(1, 21)]
    assert {row["query"] for row in listed} == set(QUERIES)
