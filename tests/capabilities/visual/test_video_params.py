"""The parameters of generate-video, as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from mediamill.tasks import capabilities
from mediamill.tasks.capabilities.visual.video_params import GenerateVideoParams, build_request_params
from mediamill.tasks.errors import BadInput, UsageError
from mediamill.tasks.params import validate_params
from mediamill.tasks.providers import registry
from mediamill.tasks.providers.operations.videos import VIDEO, VideoConfig, VideoModel


@pytest.mark.parametrize(
    "keyframes", ["a.png", '{"image": "a.png"}', '["a.png"]', '[{"image": "a.png"}]', {"image": "a.png"}, ["a.png"]]
)
def test_a_keyframe_may_be_written_in_any_of_its_forms(keyframes: Any) -> None:
    frames = GenerateVideoParams(keyframes=keyframes).keyframes or []
    assert [(frame.image, frame.frame) for frame in frames] == [("a.png", None)]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("size", "big", "size: 'big' is no size; write it as 1280x720"),
        ("keyframes", "[broken", "keyframes: is not JSON"),
        ("width", 640, "width and height go together"),
    ],
)
def test_a_wrong_value_is_refused_in_plain_words(name: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        validate_params(capabilities.get("generate-video"), {name: value})
    assert message in caught.value.message
    assert "Value error" not in caught.value.message
    assert "pattern" not in caught.value.message


def test_an_unsupported_aspect_ratio_is_refused_with_those_supported() -> None:
    provider = registry.make_provider("xai", base_url=None, api_key_env=None, environ={"XAI_API_KEY": "k"})
    model = provider.choose_model(VIDEO, None)
    with pytest.raises(BadInput, match="takes aspect_ratio 1:1, 16:9"):
        build_request_params(
            GenerateVideoParams(aspect_ratio="99:1"),
            "a cat",
            provider.model_facts(VIDEO, model, VideoModel),
            provider.operation_config(VIDEO, VideoConfig),
            model,
        )
