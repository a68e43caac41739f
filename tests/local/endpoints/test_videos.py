"""The built-in server generates videos as each provider does: jobs, links, files and the bill."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from tests.helpers import loopback
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.media_requests import PIXVERSE, create_video, decode_video, fetch, poll_video

PREFIXES = ["/together/v2", "/openai-api/v1", "/xai/v1", "/v2"]
PRICES = [f"{PIXVERSE}=0.15", "sora-2=0.4", "grok-imagine-video=0.1"]


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"price": PRICES, "job_seconds": "0"}


def link(server: RunningServer, prefix: str = "/together/v2", **fields: Any) -> str:
    """A completed job's link."""
    job = poll_video(server.origin, prefix, create_video(server.origin, prefix, **fields))
    return str(job["video"]["url"] if prefix == "/xai/v1" else job["outputs"]["video_url"])


def test_together_creates_a_job_a_link_and_a_file(local_server: RunningServer) -> None:
    created = create_video(local_server.origin, "/together/v2", seed=3)
    first = created.json()
    assert (first["object"], first["status"], first["size"], first["seconds"]) == ("video", "queued", "640x360", "5")
    job = poll_video(local_server.origin, "/together/v2", created)
    assert (job["status"], job["outputs"]["cost"]) == ("completed", 0.15)
    assert job["completed_at"] >= job["created_at"]
    url = job["outputs"]["video_url"]
    redirect = loopback.get(url)
    assert (redirect.status_code, urlsplit(url).path[:6]) == (302, "/shrt/")
    reply = fetch(url)
    assert reply.headers["content-type"] == "video/mp4"
    video = decode_video(reply.content)
    assert (video.width, video.height, video.frames, video.fps) == (640, 360, 80, 16.0)
    again = link(local_server, seed=3)
    assert fetch(again).content == reply.content
    assert again != url
    assert fetch(link(local_server, seed=4)).content != reply.content
    bill = local_server.bill()
    assert (bill["requests"], bill["usd"], bill["billed_again"]) == (3, "0.45", 1)
    assert (bill["polls"], bill["downloads"], bill["key_leaked"]) == (3, 3, 0)
    assert bill["download_bytes"] > 2 * len(reply.content)
    assert bill["calls"][0]["videos"] == 1


def test_togethers_v1_path_creates_videos_too(local_server: RunningServer) -> None:
    body = {"model": PIXVERSE, "prompt": "a cat", "width": 405, "height": 540, "output_format": "WEBM"}
    created = loopback.post(f"{local_server.origin}/together/v1/videos", json=body)
    job = poll_video(local_server.origin, "/together/v1", created)
    video = decode_video(fetch(job["outputs"]["video_url"]).content)
    assert (video.codec, video.width, video.height, video.frames) == ("vp8", 405, 540, 120)


def test_openai_sends_the_file_with_the_key_and_checks_the_reference(local_server: RunningServer) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (1280, 720)).save(picture, "PNG")
    reference = ("first.png", picture.getvalue(), "image/png")
    created = create_video(local_server.origin, "/openai-api/v1", input_reference=reference)
    assert created.status_code == 200, created.text
    job = poll_video(local_server.origin, "/openai-api/v1", created)
    assert (job["status"], job["progress"], job["seconds"], job["error"]) == ("completed", 100, "4", None)
    content = fetch(f"{local_server.origin}/openai-api/v1/videos/{job['id']}/content", authorization="Bearer x")
    video = decode_video(content.content)
    assert (video.width, video.height, video.frames) == (1280, 720, 96)
    small = create_video(local_server.origin, "/openai-api/v1", input_reference=reference, size="720x1280")
    assert (small.status_code, small.json()["error"]["param"]) == (400, "input_reference")
    broken = create_video(local_server.origin, "/openai-api/v1", input_reference=("a.png", b"no picture", "image/png"))
    assert broken.json()["error"]["code"] == "invalid_image_format"
    bill = local_server.bill()
    assert (bill["billed"], bill["usd"], bill["key_leaked"], bill["downloads"]) == (1, "0.4", 0, 1)


def test_xai_replies_with_an_id_and_then_a_link(local_server: RunningServer) -> None:
    created = create_video(local_server.origin, "/xai/v1", aspect_ratio="9:16", resolution="720p")
    assert set(created.json()) == {"request_id"}
    job = poll_video(local_server.origin, "/xai/v1", created)
    assert (job["status"], job["video"]["duration"], job["video"]["respect_moderation"]) == ("done", 2, True)
    assert job["usage"]["cost_in_usd_ticks"] == 1_000_000_000
    video = decode_video(fetch(job["video"]["url"]).content)
    assert (video.width, video.height, video.frames) == (720, 1280, 48)


def test_other_dialects_read_json_as_together_and_forms_as_openai(local_server: RunningServer) -> None:
    video = decode_video(fetch(link(local_server, "/v2")).content)
    assert (video.width, video.height, video.frames) == (64, 48, 24)
    form = {"prompt": (None, "a cat"), "size": (None, "64x64"), "seconds": (None, "1")}
    created = loopback.post(f"{local_server.origin}/compatible/v1/videos", files=form).json()
    assert created["progress"] == 0
    content = fetch(f"{local_server.origin}/compatible/v1/videos/{created['id']}/content").content
    assert decode_video(content).width == 64


def test_the_first_frames_show_the_prompt_and_later_ones_change_colour(local_server: RunningServer) -> None:
    plain, worded = (
        decode_video(fetch(link(local_server, seed=1, prompt=words)).content) for words in ("..", "a cat " * 30)
    )
    assert len(worded.first.getcolors(1 << 24) or ()) > len(plain.first.getcolors(1 << 24) or ())
    assert worded.last.getpixel((320, 180)) != worded.first.getpixel((320, 180))


def test_a_job_is_queued_before_its_time_is_over() -> None:
    with running_server(job_seconds="30s..40s") as server:
        for prefix, waiting in (("/together/v2", "queued"), ("/openai-api/v1", "queued"), ("/xai/v1", "pending")):
            created = create_video(server.origin, prefix)
            assert poll_video(server.origin, prefix, created)["status"] == waiting
        url = (
            f"{server.origin}/openai-api/v1/videos/{create_video(server.origin, '/openai-api/v1').json()['id']}/content"
        )
        assert fetch(url).status_code == 400


@pytest.mark.parametrize(
    ("prefix", "fields", "status", "code"),
    [
        ("/together/v2", {"prompt": "x"}, 400, "invalid_params"),
        ("/together/v2", {"prompt": "x" * 2049}, 400, "invalid_params"),
        ("/together/v2", {"prompt": None}, 400, "invalid_params"),
        ("/together/v2", {"seconds": "11"}, 400, "invalid_params"),
        ("/together/v2", {"seconds": "5.5"}, 400, "invalid_params"),
        ("/together/v2", {"fps": 14}, 400, "invalid_params"),
        ("/together/v2", {"width": 641}, 400, "invalid_params"),
        ("/together/v2", {"height": None}, 400, "invalid_params"),
        ("/together/v2", {"steps": 5}, 400, "invalid_params"),
        ("/together/v2", {"output_format": "GIF"}, 400, "invalid_params"),
        ("/together/v2", {"media": {"frame_images": [{"input_image": "https://a/b"}] * 3}}, 400, "invalid_params"),
        ("/together/v2", {"media": {"frame_images": [{"frame": 0}]}}, 400, "invalid_params"),
        ("/together/v2", {"media": {"pictures": []}}, 400, "invalid_params"),
        ("/together/v2", {"model": "nobody/nothing"}, 400, "model_not_available"),
        ("/openai-api/v1", {"seconds": "5"}, 400, None),
        ("/openai-api/v1", {"size": "640x360"}, 400, None),
        ("/openai-api/v1", {"model": "whisper-1"}, 404, "model_not_found"),
    ],
)
def test_requests_that_the_provider_refuses_are_refused_and_free(
    prefix: str, fields: dict[str, Any], status: int, code: str | None, local_server: RunningServer
) -> None:
    reply = create_video(local_server.origin, prefix, **fields)
    assert reply.status_code == status, reply.text
    assert reply.json()["error"]["code"] == code
    bill = local_server.bill()
    assert (bill["requests"], bill["billed"]) == (1, 0)


def test_xai_refuses_in_its_own_error_format(local_server: RunningServer) -> None:
    for fields in ({"duration": 16}, {"resolution": "4k"}, {"aspect_ratio": "2:9"}, {"image": "https://a/b.png"}):
        reply = create_video(local_server.origin, "/xai/v1", **fields)
        assert (reply.status_code, set(reply.json())) == (400, {"code", "error"})
    assert create_video(local_server.origin, "/xai/v1", model="grok-9").status_code == 404


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_unknown_id_is_not_found(prefix: str, local_server: RunningServer) -> None:
    assert fetch(f"{local_server.origin}{prefix}/videos/video_0").status_code == 404
    assert fetch(f"{local_server.origin}/shrt/video_0.1f").status_code == 404
    assert fetch(f"{local_server.origin}/media/nothing.mp4").status_code == 404
    assert local_server.bill()["requests"] == 0


def test_files_are_sent_in_byte_ranges(local_server: RunningServer) -> None:
    url = link(local_server)
    whole = fetch(url)
    tag = whole.headers["etag"]
    assert whole.headers["accept-ranges"] == "bytes"
    size = len(whole.content)
    for byte_range, first, last in (("0-99", 0, 99), ("100-", 100, size - 1), ("-10", size - 10, size - 1)):
        part = fetch(url, range=f"bytes={byte_range}")
        assert (part.status_code, part.headers["content-range"]) == (206, f"bytes {first}-{last}/{size}")
        assert part.content == whole.content[first : last + 1]
        assert part.headers["etag"] == tag
    beyond = fetch(url, range=f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    assert fetch(url, range="bytes=0-9", if_range='"other"').status_code == 200
    assert fetch(url, range="bytes=9-0").status_code == 200
    head = loopback.head(url, follow_redirects=True)
    assert (head.status_code, head.content, int(head.headers["content-length"])) == (200, b"", size)


def test_a_key_sent_with_a_download_is_counted(local_server: RunningServer) -> None:
    url = link(local_server)
    redirect = loopback.get(url, headers={"Authorization": "Bearer x"})
    assert local_server.bill()["key_leaked"] == 0
    fetch(f"{local_server.origin}{redirect.headers['location']}", authorization="Bearer x")
    assert local_server.bill()["key_leaked"] == 1


def test_links_expire_and_a_poll_returns_a_new_one() -> None:
    with running_server(job_seconds="0", link_seconds=1) as server:
        created = create_video(server.origin, "/together/v2")
        fetch(poll_video(server.origin, "/together/v2", created)["outputs"]["video_url"])  # rendered now
        url = poll_video(server.origin, "/together/v2", created)["outputs"]["video_url"]
        assert fetch(url).status_code == 200
        deadline = time.monotonic() + 30
        while fetch(url).status_code == 200 and time.monotonic() < deadline:
            pass
        assert fetch(url).status_code == 403
        assert fetch(poll_video(server.origin, "/together/v2", created)["outputs"]["video_url"]).status_code == 200


@pytest.mark.parametrize("prefix", ["/together/v2", "/xai/v1"])
def test_the_fault_expired_link_ends_a_link_at_its_first_use(prefix: str, local_server: RunningServer) -> None:
    local_server.faults({"fault": {"kind": "expired_link"}, "times": 1})
    created = create_video(local_server.origin, prefix)

    def address() -> str:
        job = poll_video(local_server.origin, prefix, created)
        return str(job["video"]["url"] if prefix == "/xai/v1" else job["outputs"]["video_url"])

    dead = address()
    assert [fetch(dead).status_code for _ in range(2)] == [403, 403]
    assert fetch(address()).status_code == 200


def drain(reply: httpx.Response, received: bytearray) -> None:
    for block in reply.iter_raw():
        received += block


@pytest.mark.parametrize("size", [1000, None])
def test_a_download_breaks_off_and_can_be_resumed(size: int | None, local_server: RunningServer) -> None:
    local_server.faults({"fault": {"kind": "cut_download", **({"bytes": size} if size else {})}, "times": 1})
    url = link(local_server)
    received = bytearray()
    reading = loopback.stream("GET", url, follow_redirects=True)
    with reading as reply, pytest.raises(httpx.RemoteProtocolError):
        drain(reply, received)
    whole = fetch(url).content
    assert len(received) == (size or len(whole) // 2)
    assert received + fetch(url, range=f"bytes={len(received)}-").content == whole


@pytest.mark.parametrize("prefix", ["/together/v2", "/openai-api/v1", "/xai/v1"])
def test_jobs_can_fail_be_blocked_or_never_end(prefix: str, local_server: RunningServer) -> None:
    error = {"code": "gpu_lost", "message": "It broke."}
    local_server.faults(
        {"match": {"nth": 1}, "fault": {"kind": "job_fail", "body": error}},
        {"match": {"nth": 2}, "fault": {"kind": "moderated"}},
        {"match": {"nth": 3}, "fault": {"kind": "job_stuck"}},
        {"match": {"nth": 4}, "fault": {"kind": "job_status", "body": "validating"}},
    )
    created = [create_video(local_server.origin, prefix) for _ in range(4)]
    failed, withheld, stuck, validating = (poll_video(local_server.origin, prefix, one) for one in created)
    assert (failed["status"], failed["error"]) == ("failed", error)
    if prefix == "/xai/v1":
        assert (withheld["status"], withheld["video"]["respect_moderation"]) == ("done", False)
        assert withheld["video"]["url"] == ""
    else:
        codes = {"/together/v2": "content_policy_violation", "/openai-api/v1": "moderation_blocked"}
        assert (withheld["status"], withheld["error"]["code"]) == ("failed", codes[prefix])
        assert "outputs" not in withheld
    assert stuck["status"] == ("pending" if prefix == "/xai/v1" else "in_progress")
    assert validating["status"] == "validating"
    assert poll_video(local_server.origin, prefix, created[3])["status"] in ("completed", "done")
    assert [call["billed"] for call in local_server.bill()["calls"]] == [False, False, True, True]
    assert [call["fault"] for call in local_server.bill()["calls"]] == [
        "job_fail",
        "moderated",
        "job_stuck",
        "job_status",
    ]


@pytest.mark.parametrize("kind", ["close", "reset_mid_body", "bad_json", "empty", "short_body", "wrong_type"])
def test_a_job_whose_creation_reply_is_lost_exists_and_is_billed(kind: str, local_server: RunningServer) -> None:
    local_server.faults({"match": {"first": 1}, "fault": {"kind": kind}})
    try:
        create_video(local_server.origin, "/together/v2").json()
    except (httpx.HTTPError, ValueError):
        pass
    else:
        pytest.fail("the answer was whole")
    assert create_video(local_server.origin, "/together/v2").status_code == 200
    bill = local_server.bill()
    assert (bill["billed"], bill["billed_again"], bill["usd"]) == (2, 1, "0.3")


def test_an_immediate_fault_can_be_billed(local_server: RunningServer) -> None:
    local_server.faults({"fault": {"kind": "reset", "billed": True}, "times": 1})
    with pytest.raises(httpx.HTTPError):
        create_video(local_server.origin, "/together/v2")
    assert local_server.bill()["usd"] == "0.15"


@pytest.mark.parametrize("kind", ["reset", "status", "redirect", "error_in_200"])
def test_a_request_that_breaks_before_a_job_is_created_is_free(kind: str, local_server: RunningServer) -> None:
    local_server.faults({"match": {"first": 1}, "fault": {"kind": kind}})
    if kind == "reset":
        with pytest.raises(httpx.HTTPError):
            create_video(local_server.origin, "/together/v2")
    else:
        assert b"video_" not in create_video(local_server.origin, "/together/v2").content
    assert local_server.bill()["billed"] == 0


def test_faults_apply_to_polls_and_files_only_by_path(local_server: RunningServer) -> None:
    local_server.faults({"fault": {"kind": "status", "status": 500}, "match": {"after": 1}})
    url = link(local_server)
    assert fetch(url).status_code == 200
    local_server.faults(
        {"match": {"path": "*/videos/*", "nth": 1}, "fault": {"kind": "status", "status": 503}},
        {"match": {"path": "/media/*", "nth": 1}, "fault": {"kind": "short_body"}},
    )
    created = create_video(local_server.origin, "/together/v2")
    address = f"{local_server.origin}/together/v2/videos/{created.json()['id']}"
    assert [fetch(address).status_code for _ in range(2)] == [503, 200]
    with pytest.raises(httpx.RemoteProtocolError):
        fetch(url)
    assert fetch(url).status_code == 200


def test_jobs_are_kept_in_a_file_beside_the_bill(tmp_path: Path) -> None:
    options: dict[str, Any] = {"bill_file": tmp_path / "bill.jsonl", "job_seconds": "0"}
    with running_server(**options) as server:
        created = create_video(server.origin, "/together/v2")
    with (tmp_path / "bill.jsonl.jobs").open("ab") as file:
        file.write(b'{"id": "cut')
    with running_server(**options) as server:
        job = poll_video(server.origin, "/together/v2", created)
        assert job["status"] == "completed"
        assert decode_video(fetch(job["outputs"]["video_url"]).content).frames == 80
        assert server.bill()["billed"] == 1


def test_a_key_is_required_for_jobs_but_not_for_links() -> None:
    with running_server(require_key=True, job_seconds="0") as server:
        assert create_video(server.origin, "/together/v2").status_code == 401
        key = {"Authorization": "Bearer x"}
        body = {"model": PIXVERSE, "prompt": "a cat", "width": 270, "height": 360}
        created = loopback.post(f"{server.origin}/together/v2/videos", json=body, headers=key).json()
        address = f"{server.origin}/together/v2/videos/{created['id']}"
        assert fetch(address).status_code == 401
        job = fetch(address, **key).json()
        assert fetch(job["outputs"]["video_url"]).status_code == 200


@pytest.mark.long
def test_forty_videos_take_little_processor_time(local_server: RunningServer) -> None:
    from psutil import Process

    process = Process(local_server.server.process.pid)

    def processor_seconds() -> float:
        times = process.cpu_times()
        return times.user + times.system

    start = processor_seconds()
    with httpx.Client(trust_env=False, verify=False, follow_redirects=True) as client:
        for number in range(40):
            body = {"model": PIXVERSE, "prompt": f"number {number}", "width": 640, "height": 360, "fps": 24}
            created = client.post(f"{local_server.origin}/together/v2/videos", json=body).json()
            job = client.get(f"{local_server.origin}/together/v2/videos/{created['id']}").json()
            assert client.get(job["outputs"]["video_url"]).status_code == 200
    assert processor_seconds() - start < 8
    assert local_server.bill()["downloads"] == 40
