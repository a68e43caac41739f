"""Image generation: requests for every provider, and any reply."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.domain import Input, Payload
from mediamill.tasks.errors import BadInput, BadReply, UsageError
from mediamill.tasks.providers.operations.image_config import IMAGE, ImageConfig, ImageModel
from mediamill.tasks.providers.operations.images import FIELDS_BY_STYLE
from mediamill.tasks.providers.registry import load_config, providers_with
from mediamill.tasks.wire import Reply
from tests.helpers.hypothesis_profile import make_repeatable
from tests.providers.builders import (
    SECRET_KEY,
    UNLISTED_MODEL,
    build_ask,
    build_body,
    build_provider,
    build_reply,
    encode_png,
)

MODELS = [
    (name, model)
    for name in providers_with(IMAGE)
    for model in (*load_config(name).operations[IMAGE].models, UNLISTED_MODEL)
]
every_model = pytest.mark.parametrize(("name", "model"), MODELS)
FLUX, KONTEXT = "black-forest-labs/FLUX.1-schnell", "black-forest-labs/FLUX.1-kontext-dev"
REFERENCE_IMAGE = Payload("picture.png", "image/png", 3, data=b"png")


def parse_image_reply(name: str, model: str, body: Any, **params: Any) -> Any:
    (parsed,) = build_provider(name).parse(build_reply(body), [build_ask(IMAGE, model, **params)])
    return parsed


@every_model
def test_only_requested_fields_are_sent(name: str, model: str) -> None:
    sent = build_body(name, build_ask(IMAGE, model))
    response_format = {"together": "base64", "openai": None}.get(name, "b64_json")
    expected: dict[str, Any] = {"model": model, "prompt": "a fox"} | (
        {} if response_format is None else {"response_format": response_format}
    )
    assert sent == expected
    wire = build_provider(name).to_wire(build_ask(IMAGE, model))
    assert wire.path.endswith("/v1/images/generations")
    assert not wire.repeatable
    assert SECRET_KEY not in repr(wire)


@every_model
def test_a_size_is_sent_in_the_fields_of_the_endpoint(name: str, model: str) -> None:
    if name == "xai":
        with pytest.raises(BadInput, match="does not take size") as refused:
            build_body(name, build_ask(IMAGE, model, size="1024x1024"))
        assert "aspect_ratio" in (refused.value.hint or "")
        return
    for params in ({"size": "1024x1024"}, {"width": 1024, "height": 1024}):
        sent = build_body(name, build_ask(IMAGE, model, **params))
        if name == "together":
            assert (sent["width"], sent["height"], "size" in sent) == (1024, 1024, False)
        else:
            assert sent["size"] == "1024x1024"


@every_model
def test_only_fields_of_the_endpoint_are_sent(name: str, model: str) -> None:
    style = build_provider(name).operation_config(IMAGE, ImageConfig).api_style
    values: dict[str, Any] = {
        "seed": 3,
        "quality": "low",
        "aspect_ratio": "16:9",
        "negative_prompt": "dogs",
        "background": "auto",
    }
    for field, value in values.items():
        if field in FIELDS_BY_STYLE[style]:
            assert build_body(name, build_ask(IMAGE, model, **{field: value}))[field] == value
        else:
            with pytest.raises(BadInput, match=f"does not take {field}"):
                build_body(name, build_ask(IMAGE, model, **{field: value}))


@pytest.mark.parametrize(
    ("name", "model", "params", "allowed"),
    [
        ("together", FLUX, {"size": "100x100"}, "sides of 256 to 1920 pixels in multiples of 8"),
        ("together", FLUX, {"width": 1001}, "multiples of 8"),
        ("together", FLUX, {"size": "large"}, "1024x1024"),
        ("together", FLUX, {"steps": 51}, "1 to 50"),
        ("together", FLUX, {"output_format": "webp"}, "jpeg, png"),
        ("together", FLUX, {"image_loras": [{"path": "x", "scale": 1}]}, "leave it out"),
        ("openai", "gpt-image-1", {"size": "512x512"}, "1024x1024, 1536x1024, 1024x1536"),
        ("openai", "gpt-image-1", {"quality": "max"}, "low, medium, high, auto"),
        ("openai", "gpt-image-1", {"width": 1024}, "--size"),
        ("openai", "gpt-image-1", {"response_format": "url"}, "base64, always"),
        ("openai", "gpt-image-2", {"prompt": "x" * 32_001}, "at most 32000"),
        ("xai", "grok-imagine-image", {"resolution": "4k"}, "1k, 2k"),
        ("xai", "grok-imagine-image", {"aspect_ratio": "7:1"}, "16:9"),
    ],
)
def test_an_unsupported_parameter_is_refused_with_the_allowed_values(
    name: str, model: str, params: dict[str, Any], allowed: str
) -> None:
    with pytest.raises(BadInput) as refused:
        build_body(name, build_ask(IMAGE, model, **params))
    assert allowed in str(refused.value)
    assert refused.value.kind == "bad_request"


def test_reference_images_are_sent_and_their_bytes_are_not_in_the_wire() -> None:
    file, linked = (
        Input("a" * 64, payload=REFERENCE_IMAGE),
        Input("b" * 64, "url", payload=Payload("", "", 0, url="https://x/y")),
    )
    data = "data:image/png;base64," + base64.b64encode(b"png").decode()
    assert build_body("together", build_ask(IMAGE, KONTEXT, inputs=[file]))["image_url"] == data
    assert build_body("together", build_ask(IMAGE, "black-forest-labs/FLUX.2-dev", inputs=[file, linked]))[
        "reference_images"
    ] == [data, "https://x/y"]
    assert build_provider("together").to_wire(build_ask(IMAGE, KONTEXT, inputs=[file])) == build_provider(
        "together"
    ).to_wire(build_ask(IMAGE, KONTEXT, inputs=[linked]))
    for name, model, maximum in (("together", KONTEXT, 1), ("together", FLUX, 0), ("openai", "gpt-image-1", 0)):
        with pytest.raises(BadInput, match="reference_images"):
            build_body(name, build_ask(IMAGE, model, inputs=[*[file] * (maximum + 1)]))


def test_a_provider_without_images_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        build_provider("groq").model_facts(IMAGE, "any", ImageModel)


def test_images_are_found_in_every_field_of_a_reply() -> None:
    body: dict[str, Any] = {
        "data": [{"type": "b64_json", "b64_json": "AA=="}, {"url": "https://x/a.png"}, {"url": "data:a/b;x,QQ=="}]
    }
    images = parse_image_reply("together", FLUX, body).data["pictures"]
    assert [(image["b64"], image["url"]) for image in images] == [
        ("AA==", None),
        (None, "https://x/a.png"),
        ("QQ==", None),
    ]
    body = {"data": [{"url": "", "respect_moderation": False}, {"url": "https://x/b", "revised_prompt": "A fox."}]}
    withheld, passed = parse_image_reply("xai", "grok-imagine-image", body).data["pictures"]
    assert (withheld["moderated"], passed["moderated"], passed["revised_prompt"]) == (True, False, "A fox.")


@pytest.mark.parametrize("body", [b"", b"{", [], {}, {"data": []}, {"data": {}}, {"data": [{}]}, {"data": [None]}])
def test_a_reply_without_images_is_a_bad_reply(body: Any) -> None:
    with pytest.raises(BadReply):
        parse_image_reply("together", FLUX, body)


def test_usage_counts_images_megapixels_and_tokens() -> None:
    two = {"data": [{"url": "https://x/a"}, {"url": "https://x/b"}]}
    assert parse_image_reply("together", FLUX, two).usage.megapixels == Decimal("2.097152")
    assert parse_image_reply("together", FLUX, two, width=512, height=256).usage.megapixels == Decimal("0.262144")
    assert parse_image_reply("together", FLUX, two, steps=8).usage.megapixels == Decimal("4.194304")
    assert parse_image_reply("together", FLUX, two, steps=2).usage.megapixels == Decimal("2.097152")
    assert parse_image_reply("together", FLUX, two, aspect_ratio="16:9").usage.megapixels is None
    encoded = {"data": [{"b64_json": encode_png(320, 200)}]}
    assert parse_image_reply("together", FLUX, encoded, aspect_ratio="16:10").usage.megapixels == Decimal("0.064")
    flat = parse_image_reply("together", "black-forest-labs/FLUX.2-pro", two).usage
    assert (flat.images, flat.megapixels) == (2, None)
    tokens = {
        "input_tokens": 50,
        "output_tokens": 4160,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    }
    usage = parse_image_reply("openai", "gpt-image-1", {**two, "usage": tokens}).usage
    assert (usage.input_tokens, usage.image_input_tokens, usage.image_output_tokens) == (50, 40, 4160)
    billed = parse_image_reply("xai", "grok-imagine-image", {**two, "usage": {"cost_in_usd_ticks": 400_000_000}}).usage
    assert billed.billed_usd == Decimal("0.04")


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(encode_png(2, 2))
FIELD_NAMES = st.sampled_from(
    [
        *("data", "b64_json", "url", "usage", "seed", "revised_prompt", "respect_moderation", "output_tokens"),
        *("input_tokens", "input_tokens_details", "output_tokens_details", "image_tokens", "cost_in_usd_ticks"),
    ]
)
ANY_JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELD_NAMES, inner, max_size=5), max_leaves=15
)
ANY_IMAGES = st.lists(st.dictionaries(FIELD_NAMES, LEAVES, max_size=4) | LEAVES, min_size=1, max_size=3)


@make_repeatable()
@given(st.sampled_from(MODELS), ANY_JSON | st.fixed_dictionaries({"data": ANY_IMAGES, "usage": ANY_JSON}))
def test_any_reply_has_images_or_is_a_bad_reply(which: tuple[str, str], body: Any) -> None:
    try:
        raw = orjson.dumps(body)
    except TypeError:  # integers beyond 64 bits are no JSON that is read here
        return
    try:
        parsed = parse_image_reply(*which, raw, aspect_ratio="16:9")
    except BadReply:
        return
    assert parsed.usage.images == len(parsed.data["pictures"]) > 0
    for image in parsed.data["pictures"]:
        assert image["moderated"] or image["b64"] or image["url"]


REFUSALS = [
    ("together", 400, {"error": {"message": "no", "code": "content_policy_violation"}}),
    ("openai", 400, {"error": {"message": "no", "code": "moderation_blocked", "type": "image_generation_user_error"}}),
    ("openai", 400, {"error": {"message": "Your request was rejected by the safety system.", "code": None}}),
    ("xai", 400, {"code": "Client specified an invalid argument", "error": "Rejected by content moderation"}),
    ("xai", 403, {"code": "x", "error": "Content violates usage guidelines."}),
    ("together", 422, {"error": {"message": "NSFW content detected", "code": None}}),
    ("compatible", 400, {"detail": "prompt was flagged by the content filter"}),
]


@pytest.mark.parametrize(("name", "status", "body"), REFUSALS)
def test_a_content_refusal_is_moderated(name: str, status: int, body: Any) -> None:
    problem = build_provider(name).classify(Reply(status, {}, orjson.dumps(body)), IMAGE)
    assert problem is not None
    assert (problem.verdict, problem.kind, problem.billed) == ("fail", "moderated", False)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [(400, "Invalid value for 'moderation'", "bad_request"), (401, "bad key", "auth"), (500, "nsfw?", "server_error")],
)
def test_other_errors_are_not_moderated(status: int, message: str, kind: str) -> None:
    problem = build_provider("openai").classify(Reply(status, {}, orjson.dumps({"error": {"message": message}})), IMAGE)
    assert problem is not None
    assert problem.kind == kind


@every_model
def test_the_maximum_is_never_below_the_likely_value(name: str, model: str) -> None:
    facts = build_provider(name).model_facts(IMAGE, model, ImageModel)
    for params in ({}, {"quality": "high"}, {"steps": 40}, {"size": "1024x1024"}, {"aspect_ratio": "1:1"}):
        assert facts.max_billed_megapixels(params) >= facts.likely_billed_megapixels(params) > 0
        if facts.tokens:
            assert (
                (facts.estimate_output_tokens(params, ceiling=True) or 0)
                > (facts.estimate_output_tokens(params, ceiling=False) or 0)
                > 0
            )


def test_the_steps_of_a_model_without_a_known_default_are_bounded() -> None:
    assert ImageModel(default_size="1000x1000").max_billed_megapixels({"steps": 40}) == 10
    assert ImageModel(default_size="1000x1000").steps_factor(40) is None
