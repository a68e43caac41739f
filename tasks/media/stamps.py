"""Timestamps as the container means them, where those that FFmpeg gives for a track are others.

FFmpeg counts the first page of some Ogg files from 0, wherever their clock begins; it leaves out the empty chunks by
which an AVI file keeps a pause; and it plays an MP4's first seconds in the place of an empty edit.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mediamill.tasks.media.avi_index import read_chunk_sizes
from mediamill.tasks.media.edit_list import NO_EDITS, EditList, read_edit_lists
from mediamill.tasks.media.ogg_page import read_hidden_start

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

_MAX_UNCOUNTED_CHUNKS = 2
"""By so many chunks a header's length may differ from the index; more, and it counts something else."""


_N_BEFORE_START = 1
"""A single chunk before a pause belongs to what follows: FFmpeg so writes a track that starts late."""


@dataclass(frozen=True, slots=True)
class Stamps:
    """What is corrected in the timestamps of one track.

    Attributes:
        shifts: from which timestamp on, in seconds, how many seconds are added; in order.
        edits: the track's edit list; what FFmpeg gives within an empty edit is not there.
    """

    shifts: tuple[tuple[float, float], ...] = ()
    edits: EditList = NO_EDITS

    def __bool__(self) -> bool:
        return bool(self.shifts or self.edits.empty)

    def correct(self, time: float) -> float:
        """A timestamp on the container's clock, in seconds."""
        n_passed = bisect_right(self.shifts, time, key=lambda shift: shift[0])
        return time + self.shifts[n_passed - 1][1] if n_passed else time

    def is_hidden(self, time: float, seconds: float) -> bool:
        """True for a frame most of which lies in an empty edit."""
        return self.edits.is_empty_at(time + seconds / 2)


PLAIN = Stamps()
"""Nothing is corrected."""


def read_stamps(path: Path, handle: InputContainer, stream: Stream) -> Stamps:
    """What is to be corrected in the timestamps of a track of an opened file; nothing of the container is consumed."""
    demuxers = handle.format.name.split(",")
    if "ogg" in demuxers:
        return _read_ogg_stamps(path, stream)
    if "avi" in demuxers:
        return _read_avi_stamps(path, stream)
    if "mov" in demuxers:
        return Stamps(edits=read_edit_lists(path).get(stream.id, NO_EDITS))
    return PLAIN


def _read_ogg_stamps(path: Path, stream: Stream) -> Stamps:
    hidden = read_hidden_start(path, stream.index)
    return Stamps(((float("-inf"), hidden.seconds), (hidden.until, 0.0))) if hidden else PLAIN


def _read_avi_stamps(path: Path, stream: Stream) -> Stamps:
    """Where the header counts empty chunks as time, they are a pause."""
    if stream.type != "audio" or not stream.duration or not stream.time_base:
        return PLAIN
    sizes = read_chunk_sizes(path, stream.index)
    if 0 not in sizes or abs(len(sizes) - stream.duration) > _MAX_UNCOUNTED_CHUNKS:
        return PLAIN
    seconds = float(stream.time_base)
    shifts, n_empty, n_full = list[tuple[float, float]](), 0, 0
    for size in sizes:
        if size:
            if n_empty and (not shifts or shifts[-1][1] != n_empty * seconds):
                n_before = n_full if n_full > _N_BEFORE_START else 0
                shifts.append(((n_before - 0.5) * seconds, n_empty * seconds))
            n_full += 1
        else:
            n_empty += 1
    return Stamps(tuple(shifts))
