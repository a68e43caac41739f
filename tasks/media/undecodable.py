"""The error for a file that no audio decoder opens: it says what the file holds instead."""

from __future__ import annotations

from mediamill.tasks.errors import BadInput

_PLAYLISTS = (b"#EXTM3U", b"[playlist]", b"ffconcat ")

_OTHER_TYPES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"BM": "a BMP image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or an office document",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"SQLite format": "a database",
    b"PAR1": "a Parquet file",
    b"MThd": "a MIDI score, which holds notes but no audio",
}

_AUDIO_TYPES = {
    b"ID3": "MP3",
    b"RIFF": "WAV",
    b"RF64": "WAV",
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"FORM": "AIFF",
    b"\x1aE\xdf\xa3": "WebM or Matroska",
    b"0&\xb2u": "WMA",
    b"TAG": "MP3",
    b"\xff\xfb": "MP3",
    b"\xff\xf3": "MP3",
    b"\xff\xf2": "MP3",
}


def undecodable_error(head: bytes) -> BadInput:
    """The error for a file whose first bytes are ``head`` and which could not be opened as audio."""
    if head.lstrip()[:10].startswith(_PLAYLISTS):
        return _not_audio_error("a playlist, which names recordings but holds none")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _not_audio_error("a WebP image")
    if head[4:8] == b"ftyp":
        return _damaged_error("MP4/M4A")
    for magic, name in _AUDIO_TYPES.items():
        if head.startswith(magic):
            return _damaged_error(name)
    for magic, name in _OTHER_TYPES.items():
        if head.startswith(magic):
            return _not_audio_error(name)
    if _is_text(head):
        markup = head.lstrip()[:200].lower()
        web = markup.startswith((b"<!doctype html", b"<html", b"<head"))
        return _not_audio_error("a web page, perhaps a failed download" if web else "text")
    return BadInput(
        "the file's content is not audio in any format that is known here",
        kind="not_audio",
        hint="check that it plays in a media player",
    )


def _not_audio_error(what: str) -> BadInput:
    return BadInput(
        f"the file is not audio: it holds {what}", kind="not_audio", hint="replace it, or leave it out of the source"
    )


def _damaged_error(name: str) -> BadInput:
    return BadInput(
        f"the file begins like {name} but no audio in it can be decoded: it is damaged, cut off or holds tags only",
        kind="undecodable",
        hint="copy or download it again",
    )


def _is_text(head: bytes) -> bool:
    if not head or b"\0" in head:
        return False
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return all(c.isprintable() or c in "\r\n\t\f" for c in text)
