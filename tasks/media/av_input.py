"""Open media with PyAV. A title that is not UTF-8, as old programs wrote them, must not fail a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import av

if TYPE_CHECKING:
    from av.container import InputContainer

_FIRST_VERSION_THAT_TAKES_ANY_TITLE = 19
_TITLE_OPTIONS: dict[str, Any] = (
    {}
    if int(av.__version__.partition(".")[0]) >= _FIRST_VERSION_THAT_TAKES_ANY_TITLE
    else {"metadata_errors": "replace"}
)


def open_media(file: Path | str | BinaryIO, **options: Any) -> InputContainer:
    """Open a file to read, as :func:`av.open` does with the same options.

    Raises:
        av.FFmpegError, ValueError, OSError: when it cannot be opened.
    """
    return cast("InputContainer", av.open(file, "r", **options, **_TITLE_OPTIONS))
