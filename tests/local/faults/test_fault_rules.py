"""Fault rules break exactly the requests they match, and the bill has what a provider would charge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.helpers import loopback
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.transcription_requests import post_transcription, read_error, tone_wav


def post_with_fault(server: RunningServer, **fault: Any) -> httpx.Response:
    server.faults({"fault": fault})
    return post_transcription(server.origin)


def count_billed(server: RunningServer) -> int:
    count: int = server.bill()["billed"]
    return count


@pytest.mark.parametrize("status", [401, 402, 413, 429, 500, 503, 529])
def test_the_fault_status_replies_at_once(local_server: RunningServer, status: int) -> None:
    reply = post_with_fault(local_server, kind="status", status=status, headers={"Retry-After": "-1e309"})
    assert reply.status_code == status
    assert reply.headers["retry-after"] == "-1e309"
    assert read_error(reply)["message"]
    assert count_billed(local_server) == 0


def test_immediate_faults_send_any_body(local_server: RunningServer) -> None:
    page = post_with_fault(local_server, kind="status", status=502, body="<html>Bad Gateway</html>")
    assert page.headers["content-type"].startswith("text/html")
    assert post_with_fault(local_server, kind="status", status=400, body={"detail": "no"}).json() == {"detail": "no"}
    hidden = post_with_fault(local_server, kind="error_in_200")
    assert hidden.status_code == 200
    assert read_error(hidden)["message"]
    assert post_with_fault(local_server, kind="redirect", location="http://127.0.0.1:1/").status_code == 302
    assert count_billed(local_server) == 0


@pytest.mark.parametrize(
    ("kind", "exception", "charged"),
    [
        ("reset", httpx.ReadError, 0),
        ("close", httpx.RemoteProtocolError, 1),
        ("reset_mid_body", httpx.TransportError, 1),
        ("short_body", httpx.RemoteProtocolError, 1),
    ],
)
def test_connection_faults_break_the_connection(
    local_server: RunningServer, kind: str, exception: type[Exception], charged: int
) -> None:
    with pytest.raises(exception):
        post_with_fault(local_server, kind=kind)
    bill = local_server.bill()
    assert bill["billed"] == charged
    assert bill["calls"][0]["fault"] == kind


def test_reply_faults_break_the_body(local_server: RunningServer) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(post_with_fault(local_server, kind="bad_json").content)
    assert post_with_fault(local_server, kind="empty").content == b""
    assert post_with_fault(local_server, kind="wrong_type").headers["content-type"].startswith("text/html")
    huge = post_with_fault(local_server, kind="huge", bytes=3_000_000)
    assert len(huge.content) == 3_000_000
    assert huge.json()["text"]
    bomb = post_with_fault(local_server, kind="gzip_bomb", bytes=50_000_000)
    assert int(bomb.num_bytes_downloaded) < 100_000
    assert len(bomb.content) == 50_000_000
    assert count_billed(local_server) == 5


def test_the_fault_drip_sends_a_byte_at_a_time(local_server: RunningServer) -> None:
    reply = post_with_fault(local_server, kind="drip", interval=0.0001)
    assert reply.json()["text"]
    assert count_billed(local_server) == 1


def test_billed_overrides_what_a_fault_charges(local_server: RunningServer) -> None:
    assert post_with_fault(local_server, kind="status", status=500, billed=True).status_code == 500
    assert count_billed(local_server) == 1
    assert post_with_fault(local_server, kind="empty", billed=False).status_code == 200
    assert count_billed(local_server) == 1


def test_rules_match_their_requests(local_server: RunningServer) -> None:
    def outcome(*rules: dict[str, Any], count: int = 6, **fields: Any) -> str:
        fault: dict[str, Any] = {"kind": "status", "status": 500}
        local_server.faults(*[{**rule, "fault": fault} for rule in rules])
        return "".join(
            "x" if post_transcription(local_server.origin, **fields).status_code == 500 else "." for _ in range(count)
        )

    assert outcome({"match": {"nth": 3}}) == "..x..."
    assert outcome({"match": {"nth": [1, 4]}}) == "x..x.."
    assert outcome({"match": {"every": 2}}) == ".x.x.x"
    assert outcome({"match": {"first": 2}}) == "xx...."
    assert outcome({"match": {"after": 4}}) == "....xx"
    assert outcome({"times": 1}) == "x....."
    assert outcome({"match": {"filename": "*.mp3"}}, count=1) == "."
    assert outcome({"match": {"filename": "tone.*", "model": "a*"}}, count=1) == "x"
    assert outcome({"match": {"path": "/together/*"}}, count=1) == "."
    sha256 = local_server.bill()["calls"][-1]["file_sha256"]
    assert outcome({"match": {"file_sha256": sha256}}, count=1) == "x"
    assert outcome({"match": {"file_sha256": sha256}}, count=1, audio=tone_wav(0.7)) == "."


def test_invalid_rules_are_refused(local_server: RunningServer, tmp_path: Path) -> None:
    wrong: list[Any] = [{}, [{"match": {}}], [{"fault": {"kind": "resett"}}], [{"fault": {"sttus": 1}}], [{"falt": 1}]]
    for rules in wrong:
        reply = loopback.post(f"{local_server.origin}/mediamill/faults", json=rules)
        assert reply.status_code == 400
    assert (
        "did you mean 'reset'"
        in read_error(loopback.post(f"{local_server.origin}/mediamill/faults", json=[{"fault": {"kind": "resett"}}]))[
            "message"
        ]
    )


def test_rules_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    file.write_text('[{"match": {"nth": 1}, "fault": {"kind": "status", "status": 503}}]')
    with running_server(faults=file) as running:
        assert [post_transcription(running.origin).status_code for _ in range(2)] == [503, 200]


@pytest.mark.long
def test_random_failures_repeat_with_their_seed() -> None:
    def statuses(seed: int) -> list[int]:
        with running_server(fail=0.5, seed=seed) as running:
            return [post_transcription(running.origin).status_code for _ in range(40)]

    once = statuses(1)
    assert once == statuses(1)
    assert set(once) == {200, 429, 500, 503}
    assert 10 < once.count(200) < 30


def test_limits_can_be_changed_while_the_server_runs(local_server: RunningServer) -> None:
    local_server.limits(rpm=1)
    assert [post_transcription(local_server.origin, "together").status_code for _ in range(3)] == [200, 429, 429]
    refused = post_transcription(local_server.origin, "together")
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert read_error(refused)["error_type"] == "dynamic_request_limited"
    local_server.limits(rpm=None)
    assert post_transcription(local_server.origin, "together").status_code == 200
