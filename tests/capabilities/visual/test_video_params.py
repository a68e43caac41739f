"""The parameters of generate-video, as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from mediamill.tasks import capabilities
from mediamill.tasks.capabilities.visual.video_params import (
    GenerateVideoParams,
    build_request_params,
    find_documented_warnings,
)
from mediamill.tasks.errors import BadInput, UsageError
from mediamill.tasks.providers import registry
from mediamill.tasks.providers.operations.videos import VIDEO, VideoConfig, VideoModel
from mediamill.tasks.run.params import validate_params


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


def _find_warnings(**params: Any) -> list[str]:
    provider = registry.make_provider("together", base_url=None, api_key_env=None, environ={"TOGETHER_API_KEY": "k"})
    model = "minimax/hailuo-02"
    facts, config = provider.model_facts(VIDEO, model, VideoModel), provider.operation_config(VIDEO, VideoConfig)
    fields = build_request_params(GenerateVideoParams(**params), "a cat", facts, config, model)
    return find_documented_warnings(fields, facts, config, model)


@pytest.mark.parametrize(
    ("params", "warned"),
    [
        ({"seconds": 6, "fps": 30, "steps": 30, "guidance_scale": 8.0}, ["seconds 6", "fps 30"]),
        ({"seconds": 6, "reference_images": ["cat.png"]}, ["seconds 6"]),
        ({"fps": 24, "keyframes": [{"image": "cat.png", "frame": 0}]}, ["fps 24"]),
        ({"guidance_scale": 10.0}, []),
        ({"guidance_scale": 12.5}, ["guidance_scale 12.5"]),
        ({"steps": 40}, []),
        ({"steps": 60}, ["steps 60"]),
        ({"seconds": 10, "fps": 25}, []),
    ],
)
def test_together_warns_of_what_its_documents_disagree_about(params: dict[str, Any], warned: list[str]) -> None:
    assert [warning.partition(":")[0] for warning in _find_warnings(**params)] == warned


def test_together_refuses_what_no_document_allows() -> None:
    with pytest.raises(BadInput, match="takes seconds 10, not 11; the table of parameters says 1 to 10"):
        _find_warnings(seconds=11)
    with pytest.raises(BadInput, match="takes 10 to 50 steps, not 9"):
        _find_warnings(steps=9)
