"""Files of images and videos: rendered once, the same bytes every time, in a folder of limited size."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mediamill.tasks.local.endpoints.downloads import parse_range
from mediamill.tasks.local.media_generation import videos
from mediamill.tasks.local.media_generation.images import render_image
from mediamill.tasks.local.media_generation.media_cache import MediaCache
from mediamill.tasks.local.media_generation.specs import ImageSpec, VideoSpec, parse_size
from mediamill.tasks.local.media_generation.videos import render_video
from mediamill.tasks.local.server.api_error import ApiError
from tests.helpers.media_requests import decode_image, decode_video

SPEC = VideoSpec("a cat", 1, 64, 48, 1, 12, "mp4")


@pytest.mark.parametrize("form", ["mp4", "webm"])
@pytest.mark.parametrize(("width", "height", "seconds", "fps"), [(64, 48, 3, 25), (65, 47, 1, 1), (640, 16, 2, 60)])
def test_a_video_has_the_requested_size_length_and_frame_rate(
    form: str, width: int, height: int, seconds: int, fps: int, tmp_path: Path
) -> None:
    spec = VideoSpec("a cat", 1, width, height, seconds, fps, form)
    one, two = tmp_path / "one", tmp_path / "two"
    render_video(spec, one)
    render_video(spec, two)
    assert one.read_bytes() == two.read_bytes()
    video = decode_video(one.read_bytes())
    assert (video.width, video.height, video.frames) == (width, height, seconds * fps)
    assert form == "webm" or video.fps == fps


def test_without_an_h264_encoder_another_one_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(videos, "_choose_codec", lambda _: ("mpeg4", {}))
    videos._encode_rest.cache_clear()
    render_video(VideoSpec("a cat", 1, 65, 48, 2, 12, "mp4"), tmp_path / "one")
    videos._encode_rest.cache_clear()
    video = decode_video((tmp_path / "one").read_bytes())
    assert (video.codec, video.width, video.frames) == ("mpeg4", 65, 24)


@pytest.mark.parametrize("prompt", ["", "\0\ud800 \u4f60\u597d", "x" * 240, "%s {}\n\n\t<b>"])
def test_any_prompt_is_rendered(prompt: str, tmp_path: Path) -> None:
    for size in ((16, 16), (16, 512), (512, 16)):
        assert decode_image(render_image(ImageSpec(prompt, 0, *size, "png"))).size == size
    render_video(VideoSpec(prompt, 0, 16, 16, 1, 2, "mp4"), tmp_path / "one")
    assert decode_video((tmp_path / "one").read_bytes()).frames == 2


async def test_a_file_is_rendered_once_for_concurrent_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[str] = []

    def render_and_count(spec: VideoSpec, path: Path) -> None:
        rendered.append(spec.name)
        render_video(spec, path)

    monkeypatch.setattr("mediamill.tasks.local.media_generation.media_cache.render_video", render_and_count)
    files = MediaCache()
    try:
        opened = await asyncio.gather(*(files.open_file(SPEC) for _ in range(20)))
        assert len({file.read() for file in opened}) == 1
        for file in opened:
            file.close()
        assert rendered == [SPEC.name]
    finally:
        files.close()


async def test_the_folder_is_bounded_and_removed_at_close() -> None:
    files = MediaCache(max_bytes=20_000)
    try:
        specs = [ImageSpec(f"number {n}", 0, 256, 256, "png") for n in range(12)]
        first = await files.open_file(specs[0])
        for spec in specs[1:]:
            (await files.open_file(spec)).close()
        assert files._folder is not None
        folder = files._folder
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 20_000
        assert first.read() == render_image(specs[0])
        again = await files.open_file(specs[0])
        assert again.read() == render_image(specs[0])
        first.close()
        again.close()
    finally:
        files.close()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", range(10)),
        ("bytes=5-", range(5, 100)),
        ("bytes=-5", range(95, 100)),
        ("bytes=-500", range(100)),
        ("bytes=90-999999999999999999999999", range(90, 100)),
        ("bytes=-", None),
        ("bytes=9-1", None),
        ("bytes=0-1,4-5", None),
        ("items=0-1", None),
    ],
)
def test_byte_ranges_are_parsed(header: str, expected: range | None) -> None:
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=-0", "bytes=999999999999999999999999-"])
def test_byte_ranges_beyond_the_end_are_empty(header: str) -> None:
    assert not parse_range(header, 100)
    assert parse_range(header, 100) is not None


@pytest.mark.parametrize("value", [None, 7, "", "0x10", "10", "-1x5", "64x5000", "\u0661x\u0662"])
def test_invalid_sizes_are_refused(value: object) -> None:
    with pytest.raises(ApiError):
        parse_size(value)
