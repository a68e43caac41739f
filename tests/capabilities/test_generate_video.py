"""Videos on the command line: jobs are bought once, whatever happens, and files are complete."""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.local_server import RunningServer
from tests.helpers.run_checks import assert_bill_within_ledger_bounds, assert_ledger_equals_bill, assert_no_key_in
from tests.helpers.tiers import mark_tiers
from tests.helpers.video_runs import PIXVERSE, SMALL, check_video_files, generate_videos, write_prompts

GROK = "grok-imagine-video"
VEO = "google/veo-3.0"
OOPS = {"code": "oops", "message": "out of sorts"}


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    prices = [f"{PIXVERSE}=0.3", f"{VEO}=1.6", f"{GROK}=0.05"]
    return {"price": prices, "job_seconds": "0..50ms"}


def test_prompts_become_files_and_the_ledger_is_the_bill(local_server: RunningServer, tmp_path: Path) -> None:
    rows = [
        {"prompt": "a red boat", "size": "640x360", "seed": 4, "mood": "rain"},
        {"prompt": "a cat", "size": SMALL, "fps": 16, "mood": "snow"},
    ]
    out = tmp_path / "out"
    unwanted = ("--negative-prompt", "no {{ mood }}")
    done = generate_videos(write_prompts(tmp_path / "p.csv", rows), out, local_server, *unwanted)
    assert done.returncode == 0, done.stderr
    results = check_video_files(out)
    assert '"negative_prompt":"no rain"' in results["v0"]["asked"]
    assert (results["v0"]["width"], results["v0"]["height"], results["v0"]["seconds"]) == (640, 360, 5.0)
    assert (results["v1"]["fps"], results["v1"]["frames"], results["v1"]["format"]) == (16.0, 80, "mp4")
    assert all(row["simulated"] and row["states"][-1]["status"] == "completed" for row in results.values())
    assert {row["cost_basis"] for row in results.values()} == {"billed"}
    assert sum(row["cost_usd"] for row in results.values()) == Decimal("0.6") == Decimal(local_server.bill()["usd"])
    assert_ledger_equals_bill(out, local_server)
    assert_no_key_in(out, done.stdout, done.stderr)
    bill = local_server.bill()
    assert (bill["requests"], bill["downloads"], bill["key_leaked"]) == (2, 2, 0)
    rerun = generate_videos(tmp_path / "p.csv", out, local_server, *unwanted)
    assert rerun.returncode == 0
    assert local_server.bill()["requests"] == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param(
            {"seconds": 11}, "takes seconds 5, not 11; the table of parameters says 1 to 10", marks=pytest.mark.long
        ),
        ({"size": "100x100"}, "takes size 270x360"),
        pytest.param(
            {"fps": 12}, "takes fps 16, 24, not 12; the table of parameters says 15 to 60", marks=pytest.mark.long
        ),
        pytest.param({"steps": 5}, "takes 10 to 50 steps, not 5", marks=pytest.mark.long),
        pytest.param({"prompt": "x"}, "prompts of 2 to 2048 characters", marks=pytest.mark.long),
        pytest.param({"width": 640}, "width and height go together", marks=pytest.mark.long),
        pytest.param({"keyframes": '["a.png", "b.png", "c.png"]'}, "each needs its frame", marks=pytest.mark.long),
        pytest.param(
            {"output_format": "GIF"}, "mp4 or webm: Together's guide names MP4 and GIF", marks=pytest.mark.long
        ),
        ({"model": VEO, "keyframes": '["a.png", "b.png"]'}, "takes keyframes at first, not at first, last"),
    ],
)
def test_a_parameter_that_the_model_does_not_take_is_refused_before_anything_is_paid(
    row: dict[str, Any], message: str, local_server: RunningServer, tmp_path: Path
) -> None:
    done = generate_videos(
        write_prompts(tmp_path / "p.csv", [{"prompt": "a boat", **row}]), tmp_path / "out", local_server
    )
    assert done.returncode == 3
    (failure,) = read_rows(tmp_path / "out", "failures")
    assert message in failure["error_message"]
    assert failure["hint"] or failure["error_kind"] == "wrong_row"
    assert local_server.bill()["requests"] == 0


@pytest.mark.long
def test_what_the_documents_disagree_about_is_a_warning(local_server: RunningServer, tmp_path: Path) -> None:
    row = {
        "prompt": "a night city", "model": "minimax/hailuo-02", "width": 1366, "height": 768, "seconds": 1, "fps": 30,
        "steps": 30, "guidance_scale": 8.0, "output_format": "MP4", "output_quality": 20, "seed": 42,
    }  # fmt: skip
    out = tmp_path / "out"
    done = generate_videos(write_prompts(tmp_path / "p.csv", [row]), out, local_server)
    assert done.returncode == 0, (done.stderr, read_rows(out, "failures"))
    (result,) = check_video_files(out).values()
    assert (result["width"], result["height"], result["seconds"], result["fps"]) == (1366, 768, 1.0, 30.0)
    assert result["warnings"] == [
        "seconds 1: minimax/hailuo-02 is listed with 10, but the table of parameters says 1 to 10",
        "fps 30: minimax/hailuo-02 is listed with 25, but the table of parameters says 15 to 60",
    ]
    assert (result["cost_usd"], result["cost_basis"]) == (Decimal("0.49"), "billed")  # its list price
    assert_ledger_equals_bill(out, local_server)


@pytest.mark.long
def test_a_rehearsed_video_without_a_list_price_has_no_known_cost(local_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    row = {"prompt": "a boat", "model": "openai/sora-2"}
    done = generate_videos(write_prompts(tmp_path / "p.csv", [row]), out, local_server)
    assert done.returncode == 0, done.stderr
    assert "1 request at no known price" in done.stdout + done.stderr
    (result,) = read_rows(out)
    assert (result["cost_usd"], result["cost_basis"]) == (None, "unknown")
    assert local_server.bill()["unpriced"] == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("provider", "model", "prefix"),
    [("xai", GROK, "xai")],
)
def test_every_other_provider_generates_videos(
    provider: str, model: str, prefix: str, local_server: RunningServer, tmp_path: Path
) -> None:
    Image.effect_noise((300, 200), 40).save(tmp_path / "frame.png")
    rows = [{"prompt": "a red boat", "seconds": 4}, {"prompt": "a cat", "seconds": 4, "keyframes": "frame.png"}]
    out = tmp_path / "out"
    done = mediamill(
        *("generate-video", write_prompts(tmp_path / "p.csv", rows), "--provider", provider),
        *("--base-url", f"{local_server.origin}/{prefix}", "--out", out, "--yes"),
        home=tmp_path / "home",
        env={"OPENAI_API_KEY": "k-1234567890abcdef", "XAI_API_KEY": "k-1234567890abcdef"},
    )
    assert done.returncode == 0, (done.stderr, read_rows(out, "failures"))
    assert len(check_video_files(out)) == 2
    bill = local_server.bill()
    assert (bill["requests"], bill["key_leaked"]) == (2, 0)
    assert sum(row["cost_usd"] for row in read_rows(out)) == Decimal(bill["usd"])


def test_refusals_and_failed_jobs_cost_nothing_and_have_their_own_kinds(
    local_server: RunningServer, tmp_path: Path
) -> None:
    local_server.faults(
        {"match": {"nth": 1}, "fault": {"kind": "moderated"}, "times": 1},
        {
            "match": {"nth": 2},
            "fault": {"kind": "job_fail", "body": {"code": "oops", "message": "out of sorts"}},
            "times": 1,
        },
    )
    out = tmp_path / "out"
    rows = [{"prompt": f"boat number {n}", "size": SMALL} for n in range(3)]
    assert (
        generate_videos(write_prompts(tmp_path / "p.csv", rows), out, local_server, "--concurrency", "1").returncode
        == 3
    )
    failures = {row["error_kind"]: row for row in read_rows(out, "failures")}
    assert set(failures) == {"moderated", "job_failed"}
    assert "out of sorts" in failures["job_failed"]["error_message"]
    assert_ledger_equals_bill(out, local_server)
    before = local_server.bill()["requests"]
    assert generate_videos(tmp_path / "p.csv", out, local_server).returncode == 3
    assert local_server.bill()["requests"] == before, "neither is bought again unasked"
    assert mediamill("retry", out, "--yes", "--only", "job_failed", home=tmp_path / "home").returncode in (0, 3)
    assert len(check_video_files(out)) == 2


@pytest.mark.long
def test_a_creation_without_an_answer_is_reported_and_repeated_only_by_retry(
    local_server: RunningServer, tmp_path: Path
) -> None:
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "close"}, "times": 1})
    out = tmp_path / "out"
    source = write_prompts(tmp_path / "p.csv", [{"prompt": "a boat", "size": SMALL}])
    for _ in range(2):
        assert generate_videos(source, out, local_server).returncode == 3
        (failure,) = read_rows(out, "failures")
        assert failure["error_kind"] == "unknown"
        assert "look for it at the provider" in failure["hint"]
        assert local_server.bill()["billed"] == 1
    assert_bill_within_ledger_bounds(out, local_server.bill()["usd"])
    assert mediamill("retry", out, "--yes", "--only", "unknown", home=tmp_path / "home").returncode == 0
    assert len(check_video_files(out)) == 1
    assert local_server.bill()["billed"] == 2


@pytest.mark.long
def test_an_expired_link_is_requested_anew_and_a_broken_download_is_repeated(
    local_server: RunningServer, tmp_path: Path
) -> None:
    local_server.faults(
        {"match": {"nth": 1}, "fault": {"kind": "expired_link"}, "times": 1},
        {"match": {"nth": 3}, "fault": {"kind": "cut_download", "bytes": 5000}, "times": 1},
    )
    out = tmp_path / "out"
    rows = [{"prompt": f"boat number {n}", "size": SMALL} for n in range(3)]
    done = generate_videos(write_prompts(tmp_path / "p.csv", rows), out, local_server)
    assert done.returncode == 0, (done.stderr, read_rows(out, "failures"))
    assert len(check_video_files(out)) == 3
    bill = local_server.bill()
    assert bill["billed"] == 3
    assert bill["downloads"] > 3, "both faults struck"


@pytest.mark.long
def test_a_lost_file_is_fetched_again_for_free(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = write_prompts(tmp_path / "p.csv", [{"prompt": "a boat", "size": SMALL}]), tmp_path / "out"
    assert generate_videos(source, out, local_server).returncode == 0
    file = out / read_rows(out)[0]["file"]
    file.unlink()
    assert generate_videos(source, out, local_server).returncode == 0
    assert file.exists()
    assert len(check_video_files(out)) == 1
    assert local_server.bill()["billed"] == 1


@pytest.mark.long
def test_previews_that_are_kept_are_promoted_to_full_versions(local_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = [{"prompt": f"boat number {n}", "size": "640x360"} for n in range(3)]
    done = generate_videos(write_prompts(tmp_path / "p.csv", rows), out, local_server, "--preview")
    assert done.returncode == 0, done.stderr
    previews = check_video_files(out)
    assert {(row["width"], row["height"], row["preview"]) for row in previews.values()} == {(270, 360, True)}
    (out / previews["v1"]["file"]).unlink()
    promoted = mediamill("retry", out, "--promote", "--yes", home=tmp_path / "home")
    assert promoted.returncode == 0, promoted.stderr
    final = {row["item_id"]: row for row in read_rows(out)}
    assert [(final[f"v{n}"]["width"], final[f"v{n}"]["preview"]) for n in range(3)] == [
        (640, False),
        (270, True),
        (640, False),
    ]
    assert local_server.bill()["billed"] == 5
    nothing = mediamill("retry", out, "--promote", "--yes", home=tmp_path / "home")
    assert nothing.returncode == 0
    assert local_server.bill()["billed"] == 5


@pytest.mark.long
def test_a_promotion_without_an_answer_is_reported_and_bought_only_by_retry(
    local_server: RunningServer, tmp_path: Path
) -> None:
    out, home = tmp_path / "out", tmp_path / "home"
    source = write_prompts(tmp_path / "p.csv", [{"prompt": "a boat", "size": "640x360"}])
    assert generate_videos(source, out, local_server, "--preview").returncode == 0
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "close"}, "times": 1})
    for _ in range(2):
        promoted = mediamill("retry", out, "--promote", "--yes", home=home)
        assert promoted.returncode == 3, promoted.stdout
        assert "1 unknown, v0: " in promoted.stdout
        assert "the earlier result stands" in promoted.stdout
        assert read_rows(out)[0]["preview"] is True
        assert local_server.bill()["billed"] == 2
    retried = mediamill("retry", out, "--promote", "--only", "unknown", "--yes", home=home)
    assert retried.returncode == 0, retried.stdout
    assert (read_rows(out)[0]["width"], read_rows(out)[0]["preview"]) == (640, False)
    assert local_server.bill()["billed"] == 3


@pytest.mark.long
def test_a_full_version_is_never_replaced_by_its_preview(local_server: RunningServer, tmp_path: Path) -> None:
    out, home = tmp_path / "out", tmp_path / "home"
    rows = [{"prompt": f"boat number {n}", "size": "640x360"} for n in range(2)]
    source = write_prompts(tmp_path / "p.csv", rows)
    assert generate_videos(source, out, local_server, "--preview").returncode == 0
    kill = {"MEDIAMILL_FAULTS": "call.sending.after:2:kill"}
    killed = mediamill("retry", out, "--promote", "--yes", "--concurrency", "1", home=home, env=kill)
    assert killed.returncode == -signal.SIGKILL
    assert "2 unchanged" in generate_videos(source, out, local_server, "--preview").stdout, (
        "the next promotion goes on with it"
    )
    mediamill("retry", out, "--promote", "--yes", home=home)
    mediamill("retry", out, "--promote", "--only", "unknown", "--yes", home=home)
    files = {row["item_id"]: row["file"] for row in read_rows(out) if not row["preview"]}
    assert len(files) == 2
    (out / files["v0"]).unlink()
    billed = local_server.bill()["billed"]
    rerun = generate_videos(source, out, local_server, "--preview")
    assert rerun.returncode == 3
    assert "retry OUT --promote" in rerun.stdout
    assert {row["preview"] for row in read_rows(out)} == {False}
    back = mediamill("retry", out, "--promote", "--yes", home=home)
    assert back.returncode == 0, back.stdout
    assert {row["file"] for row in check_video_files(out).values()} == set(files.values())
    assert local_server.bill()["billed"] == billed


def test_quote_and_budget_know_the_price_of_videos(local_server: RunningServer, tmp_path: Path) -> None:
    rows = [{"prompt": f"boat number {n}", "size": SMALL} for n in range(4)]
    source, out = write_prompts(tmp_path / "p.csv", rows), tmp_path / "out"
    quoted = generate_videos(source, out, local_server, "--quote", "--json")
    assert '"high_usd": "1.2' in quoted.stdout or '"high_usd":"1.2' in quoted.stdout, quoted.stdout
    stopped = generate_videos(source, out, local_server, "--budget", "0.7")
    assert stopped.returncode == 4
    assert local_server.bill()["billed"] == 2
    assert_ledger_equals_bill(out, local_server)


def test_a_quote_prices_each_row_by_its_model_and_names_a_wrong_row(
    local_server: RunningServer, tmp_path: Path
) -> None:
    rows = [
        {"prompt": "a boat", "size": SMALL},
        {"prompt": "a cat", "model": VEO},
        {"prompt": "a dog", "keyframes": "lost.png"},
    ]
    quoted = generate_videos(
        write_prompts(tmp_path / "p.csv", rows), tmp_path / "out", local_server, "--quote", "--json"
    )
    quote = json.loads(quoted.stdout)
    assert Decimal(quote["high_usd"]) == Decimal("1.9")
    assert PIXVERSE in quote["price_source"]
    assert VEO in quote["price_source"]
    assert quote["bad_items"] == 1
    assert "row 3" in quote["bad_examples"][0]
    assert "lost.png" in quote["bad_examples"][0]
    unpriced = generate_videos(
        write_prompts(tmp_path / "q.csv", [{"prompt": "a boat", "model": "no/such"}]), tmp_path, local_server, "--quote"
    )
    assert "cost unknown (1 item without a price)" in unpriced.stdout


IN_FLIGHT = 4
POINTS = [
    *("call.sending.after", "call.wire.after", "call.accepted.after", "call.replied.after", "collect.before"),
    *("collect.after", "shard.outcome.before", "part.rename.before", "call.claimed.after", "call.settled.after"),
]
RNG = random.Random(7)
INSTANTS = [f"{POINTS[n % len(POINTS)]}:{RNG.randrange(1, 12)}" for n in range(20)]


@pytest.mark.parametrize("point", mark_tiers(INSTANTS, quick=[], long=[INSTANTS[1], *INSTANTS[3:5]]))
def test_sigkill_buys_no_video_twice_and_tears_no_file(point: str, local_server: RunningServer, tmp_path: Path) -> None:
    out, count = tmp_path / "out", 12
    rows = [{"prompt": f"boat number {n}", "size": SMALL} for n in range(count)]
    source = write_prompts(tmp_path / "p.csv", rows)
    options = ("--concurrency", str(IN_FLIGHT), "--shard-size", "4")
    killed = generate_videos(source, out, local_server, *options, MEDIAMILL_FAULTS=f"{point}:kill")
    assert killed.returncode in (0, -signal.SIGKILL), killed.stderr
    resumed = generate_videos(source, out, local_server, *options)
    assert resumed.returncode in (0, 3), resumed.stderr
    failures = read_rows(out, "failures")
    assert {row["error_kind"] for row in failures} <= {"unknown"}
    assert len(failures) <= IN_FLIGHT
    assert len(check_video_files(out)) + len(failures) == count
    bill = local_server.bill()
    assert bill["billed_again"] == 0, "an unknown is not bought again unasked"
    assert_bill_within_ledger_bounds(out, bill["usd"])
    if failures:
        assert mediamill("retry", out, "--yes", home=tmp_path / "home").returncode == 0
    assert len(check_video_files(out)) == count
    purchases = Counter((c["file_sha256"], c["params_sha256"]) for c in local_server.bill()["calls"] if c["billed"])
    assert sum(n - 1 for n in purchases.values()) <= len(failures), "twice only what was in flight, and only when asked"
