"""Videos in every provider's spelling: what is sent for each model, and what any reply becomes."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.calls.request_key import request_key
from mediamill.tasks.capabilities.visual.video_params import GenerateVideoParams, build_request_params
from mediamill.tasks.domain import Ask, Input, Payload
from mediamill.tasks.errors import BadInput, BadReply
from mediamill.tasks.providers.base import BaseProvider
from mediamill.tasks.providers.operations.videos import VIDEO, VideoConfig, VideoModel
from mediamill.tasks.wire import JOB_ID_HEADER, JOB_STATES_HEADER, Reply, Wire
from tests.helpers.hypothesis_profile import repeatable
from tests.providers.builders import build_ask, build_provider, build_reply, list_models

MAKERS = [(name, model) for name, _, model in list_models(VIDEO)]
PICTURE = Payload("picture.jpg", "image/jpeg", 3, data=b"jpg")


def build_video_params(name: str, model: str, **params: Any) -> dict[str, Any]:
    provider = build_provider(name)
    told = GenerateVideoParams.model_validate(params)
    return build_request_params(
        told,
        "a boat",
        provider.model_facts(VIDEO, model, VideoModel),
        provider.operation_config(VIDEO, VideoConfig),
        model,
    )


def sent_fields(provider: BaseProvider, wire: Wire, of: Ask) -> Any:
    request = provider.build_request(wire, [of])
    return request.json if wire.encoding == "json" else dict(request.fields)


@pytest.mark.parametrize(("name", "model"), MAKERS)
def test_what_is_unset_is_not_sent_and_what_the_model_makes_is_taken(name: str, model: str) -> None:
    provider = build_provider(name)
    bare = build_ask(VIDEO, model)
    wire = provider.to_wire(bare)
    assert sent_fields(provider, wire, bare) == {"model": model, "prompt": "a boat"}
    assert (wire.job, wire.repeatable) == (True, False)
    films = provider.model_facts(VIDEO, model, VideoModel)
    for size in films.sizes:
        assert build_video_params(name, model, size=size)["size"] == size
    for seconds in films.seconds:
        sent = sent_fields(
            provider,
            provider.to_wire(build_ask(VIDEO, model, seconds=seconds)),
            build_ask(VIDEO, model, seconds=seconds),
        )
        assert sent.get("seconds", sent.get("duration")) == (seconds if name == "xai" else str(seconds))
    with pytest.raises(BadInput, match="takes"):
        build_video_params(name, model, size="17x17", seconds=59, steps=9)


@pytest.mark.parametrize(("name", "model"), MAKERS)
def test_a_preview_is_something_the_model_makes(name: str, model: str) -> None:
    films = build_provider(name).model_facts(VIDEO, model, VideoModel)
    cheap = build_video_params(name, model, preview=True)
    assert cheap.get("size") == films.smallest_size()
    assert cheap.get("seconds") == min(films.seconds, default=None)
    assert cheap.get("steps") == (films.steps[0] if films.steps else None)


def test_keyframes_and_references_go_where_the_provider_looks_for_them() -> None:
    inputs = (Input("a" * 64, payload=PICTURE), Input("b" * 64, payload=Payload("", "", 0, url="https://e.org/b.jpg")))
    raw = base64.b64encode(b"jpg").decode()
    provider = build_provider("together")
    told: dict[str, Any] = {"seconds": 8, "size": "640x360", "aspect_ratio": "16:9", "guidance_scale": 8.0}
    of = build_ask(VIDEO, "vidu/vidu-2.0", inputs=inputs, frames=["first"], **told)
    assert sent_fields(provider, provider.to_wire(of), of) == {
        "model": "vidu/vidu-2.0",
        "prompt": "a boat",
        "seconds": "8",
        "width": 640,
        "height": 360,
        "ratio": "16:9",
        "guidance_scale": 8,
        "media": {
            "frame_images": [{"input_image": raw, "frame": "first"}],
            "reference_images": ["https://e.org/b.jpg"],
        },
    }
    grok = build_provider("xai")
    of = build_ask(VIDEO, "grok-imagine-video", inputs=inputs, frames=["first", "last"], aspect_ratio="16:9")
    sent = sent_fields(grok, grok.to_wire(of), of)
    assert sent["image"] == {"url": f"data:image/jpeg;base64,{raw}"}
    assert (sent["last_frame"], sent["aspect_ratio"]) == ({"url": "https://e.org/b.jpg"}, "16:9")
    sora = build_provider("openai")
    of = build_ask(VIDEO, "sora-2", inputs=inputs[:1], frames=["first"], size="1280x720")
    request = sora.build_request(sora.to_wire(of), [of])
    assert dict(request.fields) == {"model": "sora-2", "prompt": "a boat", "size": "1280x720"}
    assert request.files == [("input_reference", PICTURE)]


def test_the_key_tells_what_is_bought_apart() -> None:
    provider = build_provider("together")
    model = "pixverse/pixverse-v5"
    one, other = Input("a" * 64, payload=PICTURE), Input("b" * 64, payload=PICTURE)
    asks = [
        build_ask(VIDEO, model),
        build_ask(VIDEO, model, seed=1),
        build_ask(VIDEO, model, inputs=(one,), frames=["first"]),
        build_ask(VIDEO, model, inputs=(one,), frames=["last"]),
        build_ask(VIDEO, model, inputs=(one,)),
        build_ask(VIDEO, model, inputs=(other,), frames=["first"]),
        build_ask(VIDEO, "vidu/vidu-q1"),
    ]
    keys = {request_key("together", of, provider.to_wire(of)) for of in asks}
    assert len(keys) == len(asks)


@pytest.mark.parametrize(
    ("name", "told", "state"),
    [
        ("together", {"id": "v", "status": "queued"}, "pending"),
        ("together", {"id": "v", "status": "in_progress"}, "pending"),
        ("together", {"id": "v", "status": "moderating"}, "pending"),
        ("together", {"id": "v"}, "pending"),
        ("together", {"id": "v", "status": "COMPLETED"}, "done"),
        ("together", {"id": "v", "status": "cancelled"}, "failed"),
        ("openai", {"id": "v", "status": "failed", "error": {"code": "x", "message": "no"}}, "failed"),
        ("xai", {"status": "pending", "progress": 3}, "pending"),
        ("xai", {"status": "done", "video": {"url": "https://e.org/v.mp4"}}, "done"),
        ("xai", {"status": "expired"}, "failed"),
    ],
)
def test_documented_and_undocumented_states(name: str, told: Mapping[str, Any], state: str) -> None:
    provider = build_provider(name)
    assert provider.classify(build_reply(told), VIDEO) is None
    poll = provider.parse_poll(build_reply(told), VIDEO)
    assert poll.state == state
    if state == "failed":
        assert poll.problem is not None
        assert poll.problem.verdict in ("fail", "unknown")


def test_an_expired_job_may_have_been_billed_and_a_refusal_is_its_own_kind() -> None:
    expired = build_provider("xai").parse_poll(build_reply({"status": "expired"}), VIDEO).problem
    assert expired is not None
    assert (expired.verdict, expired.billed) == ("unknown", True)
    failed = {"id": "v", "status": "failed", "error": {"code": "content_policy_violation", "message": "not this"}}
    refused = build_provider("together").parse_poll(build_reply(failed), VIDEO).problem
    assert refused is not None
    assert (refused.kind, refused.verdict) == ("moderated", "fail")
    at_once = {"error": {"message": "Blocked by our safety system", "type": "x", "code": "moderation_blocked"}}
    problem = build_provider("openai").classify(build_reply(at_once, 400), VIDEO)
    assert problem is not None
    assert problem.kind == "moderated"


def test_what_is_billed_is_what_the_reply_says() -> None:
    told = {
        "id": "v",
        "status": "completed",
        "seconds": "5",
        "outputs": {"cost": 0.28, "video_url": "https://e.org/shrt/x"},
    }
    states = orjson.dumps([["queued", 1.0], ["completed", 9.5]]).decode()
    (parsed,) = build_provider("together").parse(
        build_reply(told, headers={JOB_ID_HEADER: "v", JOB_STATES_HEADER: states}), [build_ask(VIDEO, "m")]
    )
    assert parsed.usage.billed_usd == Decimal("0.28")
    assert parsed.usage.video_seconds == 5
    assert parsed.data["states"][1] == {"status": "completed", "after_seconds": 9.5}
    done = {"status": "done", "video": {"url": "u", "duration": 4}, "usage": {"cost_in_usd_ticks": 2_000_000_000}}
    (parsed,) = build_provider("xai").parse(build_reply(done, headers={JOB_ID_HEADER: "r"}), [build_ask(VIDEO, "m")])
    assert (parsed.usage.billed_usd, parsed.data["url"]) == (Decimal("0.2"), "u")
    (parsed,) = build_provider("openai").parse(
        build_reply({"id": "v", "status": "completed", "seconds": "8"}), [build_ask(VIDEO, "m")]
    )
    assert parsed.data["content"] == "/v1/videos/v/content"


WORDS = st.sampled_from(["id", "status", "video", "url", "outputs", "video_url", "error", "code", "message", "usage"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["done", "failed", "x", "completed"])
ANY = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=6), max_leaves=20
)


@repeatable
@given(
    name=st.sampled_from(["together", "openai", "xai", "local"]), told=ANY | st.binary(max_size=40), status=st.just(200)
)
def test_any_reply_is_read_or_refused(name: str, told: Any, status: int) -> None:
    provider = build_provider(name)
    content = told if isinstance(told, bytes) else json.dumps(told, default=str).encode()
    given_reply = Reply(status, {}, content)
    provider.classify(given_reply, VIDEO)
    poll = provider.parse_poll(given_reply, VIDEO)
    assert poll.state in ("pending", "done", "failed")
    try:
        (parsed,) = provider.parse(given_reply, [build_ask(VIDEO, "m")])
    except BadReply:
        return
    assert parsed.data["job_id"]
