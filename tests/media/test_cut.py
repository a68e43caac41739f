from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.media.cut import CutPlan, Cutter, find_quietest_moment
from mediamill.tasks.media.encode import RATE, Samples
from tests.helpers.hypothesis_profile import make_repeatable


def make_noise(seed: int, count: int) -> Samples:
    """Noise, in which every stretch is different from all others."""
    return np.random.default_rng(seed).integers(-8000, 8000, count, dtype=np.int16)


def stream_blocks(audio: Samples, block: int) -> Iterator[Samples]:
    for at in range(0, len(audio), block):
        yield audio[at : at + block]


def cut_all(audio: Samples, plan: CutPlan, known: list[int], block: int = 4096) -> tuple[list[tuple[int, int]], Cutter]:
    """The span of every piece, checked against its samples."""
    cutter = Cutter(stream_blocks(audio, block), plan, known)
    spans = []
    while not cutter.is_last:
        blocks = list(cutter.cut_piece())
        piece = np.concatenate(blocks) if blocks else np.zeros(0, np.int16)
        assert np.array_equal(piece, audio[cutter.start : cutter.end])
        spans.append((cutter.start, cutter.end))
    return spans, cutter


@make_repeatable()
@given(
    seconds=st.floats(0, 45),
    piece=st.floats(5, 20),
    overlap=st.floats(0, 6),
    block=st.integers(100, 50_000),
    seed=st.integers(0, 99),
)
def test_pieces_together_are_exactly_the_recording(
    seconds: float, piece: float, overlap: float, block: int, seed: int
) -> None:
    audio = make_noise(seed, int(seconds * RATE))
    plan = CutPlan.from_seconds(piece, overlap)
    spans, cutter = cut_all(audio, plan, [], block)
    assert spans[0][0] == 0
    assert spans[-1][1] == len(audio)
    assert all(end - start <= plan.max_samples for start, end in spans)
    for (_, end), (start, _), cut in zip(spans, spans[1:], cutter.cuts, strict=False):
        assert (end, start) == (cut + plan.half_overlap, cut - plan.half_overlap)
    if len(spans) > 1:
        assert len(audio) > plan.max_samples
        assert min(end - start for start, end in spans) >= min(RATE, plan.max_samples // 10)
    assert cut_all(audio, plan, [], block // 3 + 1)[0] == spans
    for known in {1, len(cutter.cuts) // 2, len(cutter.cuts)}:
        assert cut_all(audio, plan, cutter.cuts[:known], block)[0] == spans


@make_repeatable()
@given(at=st.integers(0, 40_000), pause=st.integers(5_200, 9_000), noise=st.integers(0, 400), seed=st.integers(0, 99))
def test_the_cut_is_inside_the_pause(at: int, pause: int, noise: int, seed: int) -> None:
    audio = make_noise(seed, 50_000)
    audio[at : at + pause] = np.random.default_rng(seed).integers(-noise, noise + 1, len(audio[at : at + pause]))
    has_whole_pause = min(at + pause, 50_000) - at >= 5_200
    cut = find_quietest_moment(audio, 4_800)
    if has_whole_pause:
        assert at <= cut <= at + pause


def test_the_cut_is_in_the_middle_of_a_long_silence() -> None:
    audio = make_noise(1, 80_000)
    audio[30_000:60_000] = 0
    assert abs(find_quietest_moment(audio, 4_800) - 45_000) <= 320


def test_known_cuts_are_repeated() -> None:
    audio = make_noise(2, 40 * RATE)
    spans, _ = cut_all(audio, CutPlan.from_seconds(10), [100_001, 200_003])
    assert spans[:2] == [(0, 100_001), (100_001, 200_003)]
    assert spans[2][1] - 200_003 <= 10 * RATE


@pytest.mark.parametrize(("piece", "overlap"), [(5, 30), (600, 0), (60, 8)])
def test_an_overlap_is_never_more_than_a_third(piece: float, overlap: float) -> None:
    plan = CutPlan.from_seconds(piece, overlap)
    assert plan.overlap <= plan.max_samples // 3
    first, last = plan.search_window
    assert plan.half_overlap < first < last < plan.max_samples - plan.half_overlap
