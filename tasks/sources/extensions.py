"""Which files of a folder are of a kind, by their extensions: every format that is decoded here is among them."""

from __future__ import annotations

_CONTAINERS = (
    "webm mkv mk3d mp4 mp4v mpg4 m4v f4v mov qt 3gp 3gpp 3g2 3gpp2 mj2 ismv psp avi divx asf wmv flv "
    "mpg mpeg mpe m2p vob vro mod evo tod ts tp trp mts m2t m2ts ogv ogm ogx rm rmvb dv mxf gxf wtv nut lrv"
)
"""Containers that may hold both sound and pictures."""

_EXTENSIONS = {
    "audio": f"{_CONTAINERS} wav wave bwf rf64 w64 mp3 mp2 mp1 mpa mpga m2a flac ogg oga oggu opus spx aac adts latm "
    "loas m4a m4b m4p m4r f4a f4b isma 3ga mka weba wma aiff aif aifc afc amr awb caf au snd sox ircam sf rso adx wv "
    "ac3 eac3 ec3 dts dtshd ape tta tak mpc mpp shn ra voc sph nist qcp dsf gsm g722 722 g723_1 tco rco g728 g729 "
    "ulaw ul ulw mulaw pcmu alaw al alw pcma sln sln8 slin sln12 sln16 sln24 sln32 sln44 sln48 sln96 sln192",
    "video": f"{_CONTAINERS} gif m1v m2v h264 264 avc hevc h265 265 h26l ivf",
    "image": "jpg jpeg jpe jfif jif pjpeg pjp mpo png apng webp gif bmp dib tif tiff heic heics heif heifs hif avif "
    "avifs jp2 j2k j2c jpc jpf jpx",
    "text": "txt md",
}

EXTENSIONS = {kind: frozenset(f".{name}" for name in names.split()) for kind, names in _EXTENSIONS.items()}
"""File extensions by kind, lower case, with their dot."""

_WELL_KNOWN = (
    *(".mp3", ".wav", ".m4a", ".flac", ".ogg", ".opus", ".mp4", ".mov", ".mkv", ".webm", ".avi"),
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".heic", ".avif", ".tif"),
)
_MAX_NAMED_EXTENSIONS = 12

_MPEG_EXTENSIONS = frozenset({".ts", ".mod"})
SHARED_EXTENSIONS = _MPEG_EXTENSIONS | {".sln", ".al"}
"""Extensions that program text has as well; such a file is media only where its first bytes say so."""

_TS_PACKETS = (188, 192, 204)
_TS_SYNC = 0x47
_PROGRAM_STREAM = b"\0\0\1\xba"
HEAD_BYTES = 600
_MAX_EXTENSION = 16


def collect_extensions(kinds: frozenset[str]) -> frozenset[str]:
    """The extensions of all ``kinds`` together."""
    return frozenset[str]().union(*(EXTENSIONS.get(kind, frozenset()) for kind in kinds))


def describe_extensions(extensions: frozenset[str]) -> str:
    """Extensions for a message: those that people know, and how many more there are."""
    if len(extensions) <= _MAX_NAMED_EXTENSIONS:
        return " ".join(sorted(extensions))
    known = [extension for extension in _WELL_KNOWN if extension in extensions]
    return f"{' '.join(known)} or {len(extensions) - len(known)} more extensions"


def get_extension(name: str) -> str:
    """A file name's extension in small letters, with its dot; empty without one, or where it is a sentence."""
    dot = name.rfind(".")
    extension = name[dot:].lower() if dot > 0 else ""
    return extension if len(extension) <= _MAX_EXTENSION and " " not in extension else ""


def looks_like_media(extension: str, head: bytes) -> bool:
    """True for the first bytes of a file with one of :data:`SHARED_EXTENSIONS` that holds sound or pictures.

    Args:
        extension: as :func:`get_extension` gives it.
        head: at least :data:`HEAD_BYTES` of the file, where it has as many.
    """
    if extension in _MPEG_EXTENSIONS:
        return looks_like_mpeg(head)
    try:
        return "\0" in head[:-3].decode("utf-8")
    except UnicodeDecodeError:
        return True


def looks_like_mpeg(head: bytes) -> bool:
    """True for the first bytes of an MPEG transport or program stream.

    Args:
        head: at least :data:`HEAD_BYTES` of the file, where it has as many.
    """
    if head.startswith(_PROGRAM_STREAM):
        return True
    has_packet = any(
        len(head) > start + packet and head[start] == head[start + packet] == _TS_SYNC
        for packet in _TS_PACKETS
        for start in (0, packet - 188)
    )
    return has_packet or any(
        _has_packets_from(head, start, packet) for packet in _TS_PACKETS for start in range(packet)
    )


def _has_packets_from(head: bytes, start: int, packet: int) -> bool:
    """True where three packets follow each other from ``start`` on: a recording may begin in the middle of one."""
    return len(head) > start + 2 * packet and {*head[start : start + 2 * packet + 1 : packet]} == {_TS_SYNC}
