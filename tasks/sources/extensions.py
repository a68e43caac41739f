"""Which files in a folder are meant, by the kind of media asked for."""

from __future__ import annotations

_BOTH = frozenset(".webm .mp4 .mkv .mov .avi .mpg .mpeg .3gp .flv".split())  # noqa: SIM905

EXTENSIONS = {
    "audio": _BOTH
    | frozenset(
        ".wav .wave .mp3 .mp2 .m4a .m4b .flac .ogg .oga .opus .spx .aac .wma .aiff .aif .amr .caf .au .w64 .wv".split()  # noqa: SIM905
    ),
    "video": _BOTH | {".m4v", ".wmv", ".gif"},
    "image": frozenset(".jpg .jpeg .jpe .jfif .mpo .png .webp .gif .bmp .tif .tiff .heic .heif .avif .jp2".split()),  # noqa: SIM905
    "text": frozenset({".txt", ".md"}),
}
"""File extensions by kind, lower case. A video's sound is audio too."""

MANIFESTS = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})


def extensions(kinds: frozenset[str]) -> frozenset[str]:
    """The extensions of all ``kinds`` together."""
    return frozenset[str]().union(*(EXTENSIONS.get(kind, frozenset()) for kind in kinds))


def only_texts(kinds: frozenset[str]) -> bool:
    """True when items of these kinds are texts: in a column of a manifest, in files, or line by line."""
    return kinds == frozenset({"text"})


def needs_files(kinds: frozenset[str]) -> bool:
    """True when items of these kinds are files rather than rows."""
    return bool(kinds & {"audio", "video", "image"})
