"""Files of pictures and videos: drawn once, the same every time, in a folder with a bound."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mediamill.tasks.local.endpoints.downloads import parse_range
from mediamill.tasks.local.media_generation import videos as filming
from mediamill.tasks.local.media_generation.images import render_image
from mediamill.tasks.local.media_generation.media_cache import MediaCache
from mediamill.tasks.local.media_generation.specs import ImageSpec, VideoSpec, parse_size
from mediamill.tasks.local.media_generation.videos import render_video
from mediamill.tasks.local.server.api_error import ApiError
from tests.helpers.media_requests import decode_image, decode_video

CLIP = VideoSpec("a cat", 1, 64, 48, 1, 12, "mp4")


@pytest.mark.parametrize("form", ["mp4", "webm"])
@pytest.mark.parametrize(("width", "height", "seconds", "fps"), [(64, 48, 3, 25), (65, 47, 1, 1), (640, 16, 2, 60)])
def test_a_video_has_the_size_length_and_speed_asked_for(
    form: str, width: int, height: int, seconds: int, fps: int, tmp_path: Path
) -> None:
    clip = VideoSpec("a cat", 1, width, height, seconds, fps, form)
    one, two = tmp_path / "one", tmp_path / "two"
    render_video(clip, one)
    render_video(clip, two)
    assert one.read_bytes() == two.read_bytes()
    seen = decode_video(one.read_bytes())
    assert (seen.width, seen.height, seen.frames) == (width, height, seconds * fps)
    assert form == "webm" or seen.fps == fps


def test_without_an_h264_encoder_there_is_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(filming, "_choose_codec", lambda _: ("mpeg4", {}))
    filming._encode_rest.cache_clear()
    render_video(VideoSpec("a cat", 1, 65, 48, 2, 12, "mp4"), tmp_path / "one")
    filming._encode_rest.cache_clear()
    seen = decode_video((tmp_path / "one").read_bytes())
    assert (seen.codec, seen.width, seen.frames) == ("mpeg4", 65, 24)


@pytest.mark.parametrize("words", ["", "\0\ud800 \u4f60\u597d", "x" * 240, "%s {}\n\n\t<b>"])
def test_any_words_are_drawn(words: str, tmp_path: Path) -> None:
    for size in ((16, 16), (16, 512), (512, 16)):
        assert decode_image(render_image(ImageSpec(words, 0, *size, "png"))).size == size
    render_video(VideoSpec(words, 0, 16, 16, 1, 2, "mp4"), tmp_path / "one")
    assert decode_video((tmp_path / "one").read_bytes()).frames == 2


async def test_however_many_ask_a_file_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def counted(clip: VideoSpec, path: Path) -> None:
        drawn.append(clip.name)
        render_video(clip, path)

    monkeypatch.setattr("mediamill.tasks.local.media_generation.media_cache.render_video", counted)
    files = MediaCache()
    try:
        opened = await asyncio.gather(*(files.open_file(CLIP) for _ in range(20)))
        assert len({file.read() for file in opened}) == 1
        for file in opened:
            file.close()
        assert drawn == [CLIP.name]
    finally:
        files.close()


async def test_the_folder_has_a_bound_and_goes_in_the_end() -> None:
    files = MediaCache(max_bytes=20_000)
    try:
        pictures = [ImageSpec(f"number {n}", 0, 256, 256, "png") for n in range(12)]
        first = await files.open_file(pictures[0])
        for picture in pictures[1:]:
            (await files.open_file(picture)).close()
        assert files._folder is not None
        folder = files._folder
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 20_000
        assert first.read() == render_image(pictures[0])
        again = await files.open_file(pictures[0])
        assert again.read() == render_image(pictures[0])
        first.close()
        again.close()
    finally:
        files.close()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("told", "found"),
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
def test_ranges(told: str, found: range | None) -> None:
    assert parse_range(told, 100) == found


@pytest.mark.parametrize("told", ["bytes=100-", "bytes=-0", "bytes=999999999999999999999999-"])
def test_ranges_beyond_the_end(told: str) -> None:
    assert not parse_range(told, 100)
    assert parse_range(told, 100) is not None


@pytest.mark.parametrize("told", [None, 7, "", "0x10", "10", "-1x5", "64x5000", "\u0661x\u0662"])
def test_sizes_that_are_none(told: object) -> None:
    with pytest.raises(ApiError):
        parse_size(told)
