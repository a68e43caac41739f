"""The error for a file that no audio decoder opens: it says what the file holds instead."""

from __future__ import annotations

from pathlib import Path

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.content_kind import describe_content
from mediamill.tasks.media.headerless import describe_conversion

_PLAYLISTS = (b"#EXTM3U", b"[playlist]", b"ffconcat ")

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
    b"FLV\x01": "Flash Video",
    b"\0\0\x01\xba": "MPEG",
    b"#!AMR": "AMR",
    b"caff": "CAF",
    b".snd": "AU",
    b"wvpk": "WavPack",
    b"MAC ": "Monkey's Audio",
    b"TTA1": "TTA",
    b"\xff\xfb": "MP3",
    b"\xff\xf3": "MP3",
    b"\xff\xf2": "MP3",
}


def undecodable_error(head: bytes, path: Path) -> BadInput:
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
    content = describe_content(head)
    if content:
        return _not_audio_error(content)
    conversion = describe_conversion(path)
    if conversion:
        return BadInput(
            f"a file with the suffix {path.suffix} has no header that tells what it holds",
            kind="not_audio",
            hint=f"convert it first: {conversion}",
        )
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
