"""Which files of a folder are of a kind, by their extensions: every format that is decoded here is among them."""

from __future__ import annotations

_CONTAINERS = (
    "webm mkv mk3d mp4 mp4v mpg4 m4v f4v mov qt 3gp 3gpp 3g2 3gpp2 mj2 ismv psp avi divx asf wmv flv "
    "mpg mpeg mpe m2p vob mod tod ts mts m2t m2ts ogv ogm ogx rm rmvb dv mxf wtv nut"
)
"""Containers that may hold both sound and pictures."""

_EXTENSIONS = {
    "audio": f"{_CONTAINERS} wav wave bwf rf64 w64 mp3 mp2 mp1 mpa mpga m2a flac ogg oga opus spx aac adts latm loas "
    "m4a m4b m4r f4a f4b isma 3ga mka weba wma aiff aif aifc afc amr awb caf au snd wv ac3 eac3 ec3 dts dtshd "
    "ape tta tak mpc mpp shn ra voc sph nist qcp dsf",
    "video": f"{_CONTAINERS} gif m1v m2v h264 264 avc hevc h265 265 h26l ivf",
    "image": "jpg jpeg jpe jfif jif pjpeg pjp mpo png apng webp gif bmp dib tif tiff heic heics heif heifs hif avif "
    "avifs jp2 j2k j2c jpc jpf jpx",
    "text": "txt md",
}

EXTENSIONS = {kind: frozenset(f".{name}" for name in names.split()) for kind, names in _EXTENSIONS.items()}
"""File extensions by kind, lower case, with their dot."""

SHARED_EXTENSIONS = frozenset({".ts", ".mod"})
"""Extensions that program text has as well; such a file is media only where its first bytes say so."""

_TS_PACKETS = (188, 192, 204)
_TS_SYNC = 0x47
_PROGRAM_STREAM = b"\0\0\1\xba"
HEAD_BYTES = 600
_MAX_EXTENSION = 16


def collect_extensions(kinds: frozenset[str]) -> frozenset[str]:
    """The extensions of all ``kinds`` together."""
    return frozenset[str]().union(*(EXTENSIONS.get(kind, frozenset()) for kind in kinds))


def get_extension(name: str) -> str:
    """A file name's extension in small letters, with its dot; empty without one, or where it is a sentence."""
    dot = name.rfind(".")
    extension = name[dot:].lower() if dot > 0 else ""
    return extension if len(extension) <= _MAX_EXTENSION and " " not in extension else ""


def looks_like_mpeg(head: bytes) -> bool:
    """True for the first bytes of an MPEG transport or program stream.

    Args:
        head: at least :data:`HEAD_BYTES` of the file, where it has as many.
    """
    if head.startswith(_PROGRAM_STREAM):
        return True
    return any(
        len(head) > start + packet and head[start] == head[start + packet] == _TS_SYNC
        for packet in _TS_PACKETS
        for start in (0, packet - 188)
    )
