"""What a file holds that is not what its name says: in words, by its first bytes."""

from __future__ import annotations

import re

_TYPES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"BM": "a BMP image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"\0\0\1\0": "a Windows icon (ICO)",
    b"\0\0\2\0": "a Windows cursor (CUR)",
    b"\xff\x0a": "a JPEG XL image",
    b"\0\0\0\x0cJXL ": "a JPEG XL image",
    b"8BPS": "a Photoshop document",
    b"icns": "a macOS icon",
    b"gimp xcf": "a GIMP image",
    b"AT&TFORM": "a DjVu document",
    b"%PDF": "a PDF document",
    b"%!PS": "a PostScript document",
    b"\xc5\xd0\xd3\xc6": "a PostScript document",
    b"PK\x03\x04": "a ZIP archive or an office document",
    b"\xd0\xcf\x11\xe0": "an old office document",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\xfd7zXZ": "an xz archive",
    b"(\xb5/\xfd": "a Zstandard archive",
    b"BZh": "a bzip2 archive",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"SQLite format": "a database",
    b"PAR1": "a Parquet file",
    b"MThd": "a MIDI score, which holds notes but no audio",
    b"bplist": "a property list",
}

_MEDIA_TYPES = {
    b"ID3": "an MP3 recording",
    b"fLaC": "a FLAC recording",
    b"OggS": "an Ogg recording",
    b"FORM": "an AIFF recording",
    b"\x1aE\xdf\xa3": "a WebM or Matroska recording",
    b"0&\xb2u": "a WMA or WMV recording",
}
"""What is only told where sound and video are not what is looked for."""

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_POINTERS = ((b"version https://git-lfs", "Git LFS"), (b"/annex/objects/", "git-annex"))
_XML_ROOT = re.compile(rb"<(?![?!])(?:[\w.-]+:)?([\w.-]+)")
_MAX_MARKUP_BYTES = 4096


def describe_content(head: bytes, *, includes_media: bool = False) -> str | None:
    """What a file with these first bytes holds, such as ``a PDF document``; None where that is not known.

    Args:
        head: the file's first bytes, a few thousand where it has as many.
        includes_media: name sound and video, too.
    """
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for mark, program in _POINTERS:
        if text.startswith(mark):
            return f"a {program} pointer: the file itself has not been fetched"
    if head[:4] == b"RIFF":
        if head[8:12] == b"WEBP":
            return "a WebP image"
        return "a WAV recording or an AVI video" if includes_media else None
    if head[4:8] == b"ftyp":
        return _describe_boxes(head) if includes_media else None
    types: dict[bytes, str] = {**_TYPES, **(_MEDIA_TYPES if includes_media else {})}
    for magic, name in types.items():
        if head.startswith(magic):
            return name
    if head[128:132] == b"DICM":
        return "a DICOM image"
    return _describe_text(head, text)


def describe_unlike_text(head: bytes) -> str | None:
    """What a file that should be a table or list of text holds instead; None for text and for what is not known."""
    kind = describe_content(head if not _is_text(head) else b"\n" + head, includes_media=True)
    return None if kind == "text" else kind


def _describe_boxes(head: bytes) -> str:
    brand = head[8:12]
    if brand in (b"avif", b"avis"):
        return "an AVIF image"
    if brand in _HEIC_BRANDS:
        return "a HEIC image"
    return "a Canon RAW image (CR3)" if brand == b"crx " else "an MP4 recording or video"


def _describe_text(head: bytes, text: bytes) -> str | None:
    if not _is_text(head):
        return None
    markup = text[:_MAX_MARKUP_BYTES].lower()
    if markup.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page, perhaps a failed download"
    if markup.startswith((b"<?xml", b"<!doctype", b"<svg")) or (markup.startswith(b"<!--") and b"<svg" in markup):
        root = _XML_ROOT.search(markup)
        kind = root[1] if root else b""
        if kind == b"html":
            return "a web page, perhaps a failed download"
        return "an SVG drawing" if kind == b"svg" else "an XML document, perhaps a failed download"
    return "JSON, perhaps a failed download" if markup.startswith((b"{", b"[{")) else "text"


def _is_text(head: bytes) -> bool:
    if not head or b"\0" in head:
        return False
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return all(c.isprintable() or c in "\ufeff\r\n\t\f" for c in text)
