"""Video generation in every API style: requests for each model, and any reply."""

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
from tests.helpers.hypothesis_profile import make_repeatable
from tests.providers.builders import build_ask, build_provider, build_reply, list_models

MODELS = [(name, model) for name, _, model in list_models(VIDEO)]
IMAGE = Payload("picture.jpg", "image/jpeg", 3, data=b"jpg")


def build_video_params(name: str, model: str, **params: Any) -> dict[str, Any]:
    provider = build_provider(name)
    validated = GenerateVideoParams.model_validate(params)
    return build_request_params(
        validated,
        "a boat",
        provider.model_facts(VIDEO, model, VideoModel),
        provider.operation_config(VIDEO, VideoConfig),
        model,
    )


def build_fields(provider: BaseProvider, wire: Wire, ask: Ask) -> Any:
    request = provider.build_request(wire, [ask])
    return request.json if wire.encoding == "json" else dict(request.fields)


@pytest.mark.parametrize(("name", "model"), MODELS)
def test_unset_parameters_are_not_sent_and_listed_values_are_accepted(name: str, model: str) -> None:
    provider = build_provider(name)
    ask = build_ask(VIDEO, model)
    wire = provider.to_wire(ask)
    assert build_fields(provider, wire, ask) == {"model": model, "prompt": "a boat"}
    assert (wire.job, wire.repeatable) == (True, False)
    facts = provider.model_facts(VIDEO, model, VideoModel)
    for size in facts.sizes:
        assert build_video_params(name, model, size=size)["size"] == size
    for seconds in facts.seconds:
        sent = build_fields(
            provider,
            provider.to_wire(build_ask(VIDEO, model, seconds=seconds)),
            build_ask(VIDEO, model, seconds=seconds),
        )
        assert sent.get("seconds", sent.get("duration")) == (seconds if name == "xai" else str(seconds))
    with pytest.raises(BadInput, match="takes"):
        build_video_params(name, model, size="17x17", seconds=59, steps=9)


@pytest.mark.parametrize(("name", "model"), MODELS)
def test_a_preview_has_the_cheapest_values_of_the_model(name: str, model: str) -> None:
    facts = build_provider(name).model_facts(VIDEO, model, VideoModel)
    cheap = build_video_params(name, model, preview=True)
    assert cheap.get("size") == facts.smallest_size()
    assert cheap.get("seconds") == min(facts.seconds, default=None)
    assert cheap.get("steps") == (facts.steps[0] if facts.steps else None)


def test_keyframes_and_references_are_sent_in_the_providers_fields() -> None:
    inputs = (Input("a" * 64, payload=IMAGE), Input("b" * 64, payload=Payload("", "", 0, url="https://e.org/b.jpg")))
    raw = base64.b64encode(b"jpg").decode()
    provider = build_provider("together")
    params: dict[str, Any] = {"seconds": 8, "size": "640x360", "aspect_ratio": "16:9", "guidance_scale": 8.0}
    ask = build_ask(VIDEO, "vidu/vidu-2.0", inputs=inputs, frames=["first"], **params)
    assert build_fields(provider, provider.to_wire(ask), ask) == {
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
    ask = build_ask(VIDEO, "grok-imagine-video", inputs=inputs, frames=["first", "last"], aspect_ratio="16:9")
    sent = build_fields(grok, grok.to_wire(ask), ask)
    assert sent["image"] == {"url": f"data:image/jpeg;base64,{raw}"}
    assert (sent["last_frame"], sent["aspect_ratio"]) == ({"url": "https://e.org/b.jpg"}, "16:9")
    sora = build_provider("openai")
    ask = build_ask(VIDEO, "sora-2", inputs=inputs[:1], frames=["first"], size="1280x720")
    request = sora.build_request(sora.to_wire(ask), [ask])
    assert dict(request.fields) == {"model": "sora-2", "prompt": "a boat", "size": "1280x720"}
    assert request.files == [("input_reference", IMAGE)]


def test_every_parameter_and_image_changes_the_request_key() -> None:
    provider = build_provider("together")
    model = "pixverse/pixverse-v5"
    image, other = Input("a" * 64, payload=IMAGE), Input("b" * 64, payload=IMAGE)
    asks = [
        build_ask(VIDEO, model),
        build_ask(VIDEO, model, seed=1),
        build_ask(VIDEO, model, inputs=(image,), frames=["first"]),
        build_ask(VIDEO, model, inputs=(image,), frames=["last"]),
        build_ask(VIDEO, model, inputs=(image,)),
        build_ask(VIDEO, model, inputs=(other,), frames=["first"]),
        build_ask(VIDEO, "vidu/vidu-q1"),
    ]
    keys = {request_key("together", ask, provider.to_wire(ask)) for ask in asks}
    assert len(keys) == len(asks)


@pytest.mark.parametrize(
    ("name", "body", "state"),
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
        ("together", {"id": "v", "status": "TASK_STATUS_SUCCEED"}, "done"),
        ("together", {"id": "v", "state": "finished"}, "done"),
        ("together", {"request_id": "r", "output": {"task_id": "v", "task_status": "RUNNING"}}, "pending"),
        ("together", {"code": 0, "data": {"task_id": "v", "task_status": "failed", "msg": "no"}}, "failed"),
        ("together", {"id": "v", "status": "uploaded", "videos": [{"url": "https://e.org/v.mp4"}]}, "done"),
        ("together", {"id": "v", "status": "uploading", "outputs": None}, "pending"),
    ],
)
def test_documented_and_unknown_job_states(name: str, body: Mapping[str, Any], state: str) -> None:
    provider = build_provider(name)
    assert provider.classify(build_reply(body), VIDEO) is None
    poll = provider.parse_poll(build_reply(body), VIDEO)
    assert poll.state == state
    if state == "failed":
        assert poll.problem is not None
        assert poll.problem.verdict in ("fail", "unknown")


@pytest.mark.parametrize(
    "body",
    [
        {"id": "v", "status": "completed", "video_url": "https://e.org/v.mp4"},
        {"id": "v", "status": "completed", "videos": [{"url": "https://e.org/v.mp4"}]},
        {"id": "v", "status": "succeeded", "output": ["https://e.org/v.mp4"]},
        {"output": {"task_id": "v", "task_status": "SUCCEEDED", "video_url": "https://e.org/v.mp4"}},
        {"id": "v", "status": "ready", "assets": {"video": "https://e.org/v.mp4"}},
    ],
)
def test_the_video_of_a_finished_job_is_found_where_other_servers_name_it(body: Any) -> None:
    reply = build_reply(body, headers={JOB_ID_HEADER: "v"})
    assert build_provider("together").parse(reply, [build_ask(VIDEO, "m")])[0].data["url"] == "https://e.org/v.mp4"


def test_an_error_with_the_id_of_its_request_is_no_job() -> None:
    problem = build_provider("xai").classify(
        build_reply({"code": 402, "message": "no credits", "request_id": "r"}), VIDEO
    )
    assert problem is not None
    assert (problem.verdict, problem.kind) == ("stop", "credits")


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


def test_cost_seconds_and_url_are_read_from_the_reply() -> None:
    body = {
        "id": "v",
        "status": "completed",
        "seconds": "5",
        "outputs": {"cost": 0.28, "video_url": "https://e.org/shrt/x"},
    }
    states = orjson.dumps([["queued", 1.0], ["completed", 9.5]]).decode()
    (parsed,) = build_provider("together").parse(
        build_reply(body, headers={JOB_ID_HEADER: "v", JOB_STATES_HEADER: states}), [build_ask(VIDEO, "m")]
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


@pytest.mark.parametrize("number", ["1e999999999", "1e-999999999", "1e10", "-1", "NaN", "many"])
def test_absurd_numbers_of_a_reply_are_unknown(number: str) -> None:
    body = {"id": "v", "status": "completed", "seconds": number, "outputs": {"cost": number, "video_url": "u"}}
    (parsed,) = build_provider("together").parse(
        build_reply(body, headers={JOB_ID_HEADER: "v"}), [build_ask(VIDEO, "m")]
    )
    assert (parsed.usage.billed_usd, parsed.data["seconds"]) == (None, None)


WORDS = st.sampled_from(["id", "status", "video", "url", "outputs", "video_url", "error", "code", "message", "usage"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["done", "failed", "x", "completed"])
ANY = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=6), max_leaves=20
)


@make_repeatable()
@given(
    name=st.sampled_from(["together", "openai", "xai", "local"]), body=ANY | st.binary(max_size=40), status=st.just(200)
)
def test_any_reply_is_parsed_or_refused(name: str, body: Any, status: int) -> None:
    provider = build_provider(name)
    content = body if isinstance(body, bytes) else json.dumps(body, default=str).encode()
    reply = Reply(status, {}, content)
    provider.classify(reply, VIDEO)
    poll = provider.parse_poll(reply, VIDEO)
    assert poll.state in ("pending", "done", "failed")
    try:
        (parsed,) = provider.parse(reply, [build_ask(VIDEO, "m")])
    except BadReply:
        return
    assert parsed.data["job_id"]
