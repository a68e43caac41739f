"""Images on the command line: what is generated, what it costs, and what is never paid twice."""

from __future__ import annotations

import csv
import hashlib
import json
import signal
import subprocess
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.helpers.cli_runs import SENTINEL, mediamill, read_rows
from tests.helpers.local_server import RunningServer
from tests.helpers.paths import ROOT
from tests.helpers.run_checks import assert_bill_within_ledger_bounds, assert_ledger_equals_bill, assert_no_key_in
from tests.helpers.tiers import mark_rest_long

FLUX, KONTEXT = "black-forest-labs/FLUX.1-schnell", "black-forest-labs/FLUX.1-kontext-dev"
DIALECTS = {
    "together": ("/together", FLUX),
    "openai": ("/openai-api", "gpt-image-1"),
    "xai": ("/xai", "grok-imagine-image"),
}
KEYS = {f"{name.upper()}_API_KEY": SENTINEL for name in DIALECTS}
SIZES = {"together": ("--size", "256x256"), "openai": ("--quality", "low"), "xai": ("--aspect-ratio", "1:1")}
EACH = "0.00065536"
"""What the server bills for one image of FLUX: 256 by 256 pixels at a cent per million."""
PROMPTS = ("a red fox", "a blue teapot", "a lighthouse")


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    price = [f"{FLUX}={EACH}", "gpt-image-1=5/40", "grok-imagine-image=0.02"]
    return {"price": price}


def write_image_prompts(path: Path, prompts: Sequence[str] = PROMPTS, **more: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "prompt", *more])
        table.writerows([n, prompt, *(column[n] for column in more.values())] for n, prompt in enumerate(prompts))
    return path


def key_environment(folder: Path) -> Mapping[str, str]:
    """Keys, and a price list in which FLUX costs what the server bills."""
    prices = folder / "prices.csv"
    prices.write_text(
        f"provider,model,capability,unit,price_usd,source,as_of\ntogether,{FLUX},image,megapixel,0.01,here,2026-01-01\n"
    )
    return {**KEYS, "MEDIAMILL_PRICES": str(prices)}


def generate_images(
    source: Path | str, out: Path, server: RunningServer, *options: str | Path, name: str = "together", **more: str
) -> subprocess.CompletedProcess[str]:
    prefix, model = DIALECTS[name]
    model_options = () if "--model" in options else ("--model", model)
    options_of_run = ("--provider", name, "--base-url", server.origin + prefix, "--out", out, "--yes", *model_options)
    home = out.parent / "home"
    return mediamill(
        "generate-image",
        source,
        *options_of_run,
        *SIZES[name],
        *options,
        home=home,
        env={**key_environment(out.parent), **more},
    )


def retry(out: Path, kind: str) -> subprocess.CompletedProcess[str]:
    return mediamill("retry", out, "--only", kind, "--yes", home=out.parent / "home", env=key_environment(out.parent))


def read_checked_rows(out: Path) -> list[dict[str, Any]]:
    """The results, every file checked: content, size, format."""
    rows = read_rows(out)
    for row in rows:
        assert [row[name] for name in ("file", "bytes", "width", "height")] == [
            row["images"][0][name] for name in ("file", "bytes", "width", "height")
        ]
        for image in row["images"]:
            data = (out / image["file"]).read_bytes()
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (image["sha256"], image["bytes"])
            with Image.open(out / image["file"]) as opened:
                opened.load()
                assert (opened.format or "").lower() == image["format"]
                assert opened.size == (image["width"], image["height"])
    return rows


@pytest.mark.parametrize("name", mark_rest_long(DIALECTS, ["together"]))
def test_images_are_generated_and_the_ledger_is_the_bill(
    name: str, local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = write_image_prompts(tmp_path / "p.csv"), tmp_path / "out"
    done = generate_images(source, out, local_server, "--n", "2", name=name)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = read_checked_rows(out)
    assert [(row["prompt"], len(row["images"]), row["simulated"]) for row in rows] == [(p, 2, True) for p in PROMPTS]
    assert len({image["sha256"] for row in rows for image in row["images"]}) == 6
    assert len(list((out / "media").iterdir())) == 6
    assert {row["cost_basis"] for row in rows} == {"billed" if name == "xai" else "metered"}
    assert_ledger_equals_bill(out, local_server)
    assert_bill_within_ledger_bounds(out, local_server.bill()["usd"])
    assert_no_key_in(tmp_path, done.stdout, done.stderr)
    page = (out / "report.html").read_text()
    assert page.count('<img src="report_files/') == page.count('<a href="media/') == 6
    assert len(page) < 20_000
    assert generate_images(source, out, local_server, "--n", "2", name=name).returncode == 0
    assert local_server.bill()["requests"] == 3


@pytest.mark.long
def test_more_images_than_one_request_takes_are_several_requests(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = write_image_prompts(tmp_path / "p.csv", PROMPTS[:1]), tmp_path / "out"
    done = generate_images(source, out, local_server, "--n", "10", "--seed", "7")
    assert done.returncode == 0, done.stdout
    (row,) = read_checked_rows(out)
    assert sorted(call["images"] for call in local_server.bill()["calls"]) == [2, 4, 4]
    assert [image["seed"] for image in row["images"]] == [7] * 4 + [11] * 4 + [15] * 2
    assert len({image["sha256"] for image in row["images"]}) == 10
    assert_ledger_equals_bill(out, local_server)
    files = [out / image["file"] for image in row["images"]]
    files[6].unlink()
    files[9].write_bytes(b"torn")
    rerun = generate_images(source, out, local_server, "--n", "10", "--seed", "7")
    assert rerun.returncode == 0
    assert read_checked_rows(out)[0]["images"] == row["images"]
    assert local_server.bill()["requests"] == 3


@pytest.mark.parametrize("name", mark_rest_long(DIALECTS, ["together"]))
def test_a_moderated_prompt_fails_and_is_not_requested_again(
    name: str, local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = write_image_prompts(tmp_path / "p.csv", PROMPTS[:2]), tmp_path / "out"
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "moderated"}})
    for _ in range(1 + (name == "together")):
        assert generate_images(source, out, local_server, "--concurrency", "1", name=name).returncode == 3
        (failed,) = read_rows(out, "failures")
        assert failed["error_kind"] == "moderated"
        assert "rejected by the safety system" in failed["error_message"]
        assert (local_server.bill()["requests"], local_server.bill()["billed"], failed["cost_usd"]) == (2, 1, 0)
    assert_ledger_equals_bill(out, local_server)


@pytest.mark.long
def test_a_lost_answer_is_unknown_and_only_a_retry_buys_it_again(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = write_image_prompts(tmp_path / "p.csv", PROMPTS[:1]), tmp_path / "out"
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "close"}})
    for _ in range(2):
        done = generate_images(source, out, local_server, "--n", "6", "--concurrency", "1")
        assert done.returncode == 3
        (failed,) = read_rows(out, "failures")
        assert (failed["error_kind"], local_server.bill()["requests"]) == ("unknown", 2)
        assert_bill_within_ledger_bounds(out, local_server.bill()["usd"])
    assert retry(out, "unknown").returncode == 0
    assert sorted(call["images"] for call in local_server.bill()["calls"]) in ([2, 2, 4], [2, 4, 4])
    assert len(read_checked_rows(out)[0]["images"]) == 6
    assert_bill_within_ledger_bounds(out, local_server.bill()["usd"])


@pytest.mark.long
def test_a_lost_file_of_another_model_is_never_bought_from_the_first_model(
    local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = write_image_prompts(tmp_path / "p.csv", PROMPTS[:1]), tmp_path / "out"
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "moderated"}})
    assert generate_images(source, out, local_server).returncode == 3
    other_model = ("--model", "black-forest-labs/FLUX.1-dev", "--yes")
    home, environment = tmp_path / "home", key_environment(tmp_path)
    assert mediamill("retry", out, *other_model, home=home, env=environment).returncode == 0
    (row,) = read_checked_rows(out)
    (out / row["file"]).unlink()
    billed = local_server.bill()["billed"]
    rerun = generate_images(source, out, local_server)
    assert rerun.returncode == 3
    assert "its file is lost" in rerun.stdout
    back = mediamill("retry", out, "--only", "lost", *other_model, home=home, env=environment)
    assert back.returncode == 0, back.stdout
    assert read_checked_rows(out)[0]["images"] == row["images"]
    assert local_server.bill()["billed"] == billed


def test_links_are_fetched_without_the_key_and_an_expired_one_is_reported(
    local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = write_image_prompts(tmp_path / "p.csv"), tmp_path / "out"
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "expired_link"}})
    done = generate_images(source, out, local_server, "--response-format", "url", "--concurrency", "1")
    assert done.returncode == 3, done.stderr
    assert len(read_checked_rows(out)) == 2
    (failed,) = read_rows(out, "failures")
    assert failed["error_kind"] == "link_expired"
    assert "retry OUT --only link_expired" in failed["hint"]
    assert local_server.bill()["key_leaked"] == 0
    assert_ledger_equals_bill(out, local_server)
    assert generate_images(source, out, local_server, "--response-format", "url").returncode == 3
    assert local_server.bill()["billed"] == 3
    assert retry(out, "link_expired").returncode == 0
    assert (local_server.bill()["billed"], len(read_checked_rows(out))) == (4, 3)


def test_a_row_sets_its_size_and_model_and_a_wrong_value_costs_nothing(
    local_server: RunningServer, tmp_path: Path
) -> None:
    sizes, models = ["256x320", "100x100", "large"], [KONTEXT, "", ""]
    source = write_image_prompts(tmp_path / "p.csv", ("a {{ b }}", *PROMPTS[:2]), size=sizes, model=models)
    out = tmp_path / "out"
    done = generate_images(source, out, local_server)
    assert done.returncode == 3
    (row,) = read_checked_rows(out)
    assert row["model"] == local_server.bill()["calls"][0]["model"] == KONTEXT
    assert (row["width"], row["height"], row["prompt"]) == (256, 320, "a {{ b }}")
    assert local_server.bill()["requests"] == 1
    failed = {row["item_id"]: row for row in read_rows(out, "failures")}
    assert failed["1"]["hint"] == "it takes sides of 256 to 1920 pixels in multiples of 8"
    assert "'large' is not a size" in failed["2"]["error_message"]
    assert {row["cost_usd"] for row in failed.values()} == {0}


BROKEN = {"data": [{"b64_json": "iVBORw0KGgoAAAANSUhEUgAA"}]}


WITHHELD = {"data": [{"url": "", "respect_moderation": False}]}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("bad_picture", BROKEN),
        pytest.param("bad_picture", {"data": [{"b64_json": "no base64 at all"}]}, marks=pytest.mark.long),
        pytest.param("moderated", WITHHELD, marks=pytest.mark.long),
    ],
)
def test_an_unusable_image_fails_and_stays_paid(
    kind: str, body: Any, local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = write_image_prompts(tmp_path / "p.csv", PROMPTS[:1]), tmp_path / "out"
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "error_in_200", "body": body, "billed": True}})
    assert generate_images(source, out, local_server).returncode == 3
    (failed,) = read_rows(out, "failures")
    assert failed["error_kind"] == kind
    assert not list((out / "media").glob("*")) if (out / "media").exists() else True
    assert_ledger_equals_bill(out, local_server)
    assert generate_images(source, out, local_server).returncode == 3
    assert local_server.bill()["requests"] == 1
    assert retry(out, kind).returncode == 0
    assert (len(read_checked_rows(out)), local_server.bill()["billed"]) == (1, 2)


@pytest.mark.long
def test_a_template_and_a_reference_image_cost_what_the_quote_says(local_server: RunningServer, tmp_path: Path) -> None:
    Image.effect_noise((3000, 64), 80).save(tmp_path / "ref.png")
    (tmp_path / "shop.csv").write_text("id,thing\na,teapot\nb,fox\n")
    options = ("--prompt", "a {{ thing }}", "--model", KONTEXT, "--reference-images", tmp_path / "ref.png", "--n", "2")
    quoted = generate_images(tmp_path / "shop.csv", tmp_path / "out", local_server, *options, "--quote", "--json")
    quote = json.loads(quoted.stdout)
    assert (quote["asks"], quote["high_usd"], local_server.bill()["requests"]) == (4, "0.0065536", 0)
    done = generate_images(tmp_path / "shop.csv", tmp_path / "out", local_server, *options)
    assert done.returncode == 0, done.stdout
    assert {row["prompt"] for row in read_checked_rows(tmp_path / "out")} == {"a teapot", "a fox"}
    assert sum(row["cost_usd"] for row in read_rows(tmp_path / "out", "calls")) == Decimal(quote["high_usd"])


@pytest.mark.long
def test_the_built_in_provider_generates_images_without_a_key(tmp_path: Path) -> None:
    job = ROOT / "configs" / "jobs" / "generate-image.yaml"
    completed = mediamill("run", job, "--out", tmp_path / "out", "--yes", home=tmp_path / "home")
    assert completed.returncode == 0, completed.stderr
    rows = read_checked_rows(tmp_path / "out")
    assert {row["item_id"]: (row["width"], row["height"]) for row in rows} == {
        "lighthouse": (512, 384),
        "teapot": (512, 512),
        "fox": (384, 512),
    }
    assert all(row["simulated"] and row["cost_usd"] == 0 for row in rows)


@pytest.mark.long
@pytest.mark.parametrize("name", mark_rest_long(DIALECTS, ["openai"]))
def test_a_budget_holds(name: str, local_server: RunningServer, tmp_path: Path) -> None:
    source, out = write_image_prompts(tmp_path / "p.csv", [f"fox {n}" for n in range(30)]), tmp_path / "out"
    budget_usd = {"together": "0.005", "openai": "0.2", "xai": "0.1"}[name]
    done = generate_images(source, out, local_server, "--budget", budget_usd, "--concurrency", "2", name=name)
    assert done.returncode == 4, done.stdout
    assert 0 < Decimal(local_server.bill()["usd"]) <= Decimal(budget_usd)


@pytest.mark.long
@pytest.mark.parametrize(
    "point",
    mark_rest_long(
        ["call.wire.after:6", "call.replied.after:9", "call.sending.after:7", "part.rename.after:1"],
        ["call.wire.after:6"],
    ),
)
def test_sigkill_loses_nothing_and_pays_nothing_twice(point: str, local_server: RunningServer, tmp_path: Path) -> None:
    source, out = write_image_prompts(tmp_path / "p.csv", [f"fox {n}" for n in range(20)]), tmp_path / "out"
    killed = generate_images(source, out, local_server, "--concurrency", "4", MEDIAMILL_FAULTS=f"{point}:kill")
    assert killed.returncode == -signal.SIGKILL
    generate_images(source, out, local_server, "--concurrency", "4")
    failures = read_rows(out, "failures")
    assert {row["error_kind"] for row in failures} <= {"unknown"}
    assert len(read_checked_rows(out)) + len(failures) == 20
    assert local_server.bill()["billed_again"] == 0
    assert_bill_within_ledger_bounds(out, local_server.bill()["usd"])


@pytest.mark.long
def test_an_unreadable_reference_image_is_reported_before_anything_is_paid(
    local_server: RunningServer, tmp_path: Path
) -> None:
    options = ("--model", KONTEXT, "--reference-images", "nowhere.png")
    failed = generate_images(write_image_prompts(tmp_path / "p.csv"), tmp_path / "out", local_server, *options)
    assert (failed.returncode, local_server.bill()["requests"]) == (3, 0)
    assert "reference image nowhere.png" in failed.stdout
