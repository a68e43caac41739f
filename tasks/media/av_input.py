"""Open media with PyAV. A title that is not UTF-8, as old programs wrote them, must not fail a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import av

if TYPE_CHECKING:
    from av.container import InputContainer

_MAX_SECONDS = 20.0
"""To open a file, and for each read. FFmpeg looks for what a damaged file lacks to its end, and hears no signal."""
_FIRST_VERSION_THAT_TAKES_ANY_TITLE = 19
_TITLE_OPTIONS: dict[str, Any] = (
    {}
    if int(av.__version__.partition(".")[0]) >= _FIRST_VERSION_THAT_TAKES_ANY_TITLE
    else {"metadata_errors": "replace"}
)


def open_media(file: Path | str | BinaryIO, **options: Any) -> InputContainer:
    """Open a file to read, as :func:`av.open` does with the same options, but not for longer than a stop may take.

    Raises:
        av.FFmpegError, ValueError, OSError: when it cannot be opened.
    """
    return cast("InputContainer", av.open(file, "r", **{"timeout": _MAX_SECONDS, **options, **_TITLE_OPTIONS}))
