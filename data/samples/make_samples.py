"""Make data/samples again: eight spoken recordings and three in other languages, their texts, a manifest, broken files.

Needs the programs ``flite`` with its voices rms and slt, and ``espeak-ng`` (Debian and Ubuntu:
``apt install flite espeak-ng``), and the project's own environment: ``uv run python data/samples/make_samples.py``.
The same versions of these programs and of the encoders give the same bytes.
"""

from __future__ import annotations

import csv
import io
import random
import struct
import subprocess
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import av

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

HERE = Path(__file__).parent
RECORDINGS = HERE / "recordings"
LANGUAGES = HERE / "languages"
BROKEN = HERE / "broken"


class SpokenRecording(NamedTuple):
    """A recording: where it goes, who speaks, what is said, and what it is about."""

    file: str
    voice: str
    topic: str
    text: str


class SpokenLanguage(NamedTuple):
    """A recording in another language: its ISO 639-1 code, and what is said."""

    language: str
    text: str


SPOKEN_RECORDINGS = [
    SpokenRecording(
        "station.mp3",
        "rms",
        "travel",
        "The train to the city leaves at nine in the morning and arrives before noon. "
        "We are going to meet our friends at the station after dinner.",
    ),
    SpokenRecording("keys.m4a", "slt", "home", "Please leave the keys on the kitchen table when you go home tonight."),
    SpokenRecording("window.flac", "rms", "home", "She opened the window because the room was very warm."),
    SpokenRecording("friends.wav", "slt", "travel", "We are going to meet our friends at the station after dinner."),
    SpokenRecording(
        "garden.webm",
        "rms",
        "home",
        "The children played in the garden until it started to rain. "
        "My sister bought a new house near the river last summer.",
    ),
    SpokenRecording("meeting.mp3", "slt", "work", "The meeting was moved to Thursday because the manager is away."),
    SpokenRecording(
        "question.m4a",
        "rms",
        "work",
        "Thank you for calling, we will answer your question as soon as possible.",
    ),
    SpokenRecording("books.webm", "slt", "work", "You can find the books about history on the second floor."),
]

SPOKEN_LANGUAGES = {
    "french.flac": SpokenLanguage(
        "fr",
        "Bonjour, je m'appelle Marie et j'habite à Paris. Aujourd'hui, nous allons parler de la musique française. "
        "Merci beaucoup pour votre attention.",
    ),
    "german.flac": SpokenLanguage(
        "de",
        "Guten Morgen, mein Name ist Anna und ich wohne in Berlin. Heute sprechen wir über die Musik. "
        "Vielen Dank für Ihre Aufmerksamkeit.",
    ),
    "spanish.flac": SpokenLanguage(
        "es",
        "Buenos días, me llamo María y vivo en Madrid. Hoy vamos a hablar de la música. "
        "Muchas gracias por su atención.",
    ),
}
WORDS_PER_MINUTE = "150"

CODECS = {"mp3": ("mp3", 48_000), "m4a": ("aac", 48_000), "flac": ("flac", 0), "webm": ("libopus", 32_000)}
MUXERS = {"m4a": "mp4"}


def main() -> None:
    """Write everything below this script's folder."""
    RECORDINGS.mkdir(exist_ok=True)
    BROKEN.mkdir(exist_ok=True)
    for spoken in SPOKEN_RECORDINGS:
        wav = speak(spoken.voice, spoken.text)
        target = RECORDINGS / spoken.file
        target.write_bytes(wav if target.suffix == ".wav" else encode(wav, target.suffix[1:]))
        print(f"{target.relative_to(HERE)}: {target.stat().st_size:,} bytes")
    LANGUAGES.mkdir(exist_ok=True)
    for file, spoken_language in SPOKEN_LANGUAGES.items():
        (LANGUAGES / file).write_bytes(encode(speak_language(*spoken_language), "flac"))
    write_tables()
    write_broken()


def speak_language(language: str, text: str) -> bytes:
    """Speak a text with espeak-ng; a WAV file, mono."""
    command = ["espeak-ng", "-v", language, "-s", WORDS_PER_MINUTE, "--stdout", text]
    try:
        return subprocess.run(command, check=True, capture_output=True).stdout
    except FileNotFoundError:
        raise SystemExit("espeak-ng is not installed: apt install espeak-ng") from None


def speak(voice: str, text: str) -> bytes:
    """Speak a text with flite; a WAV file, 16 kHz mono."""
    wav = HERE / ".speaking.wav"
    try:
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(wav)], check=True)
        return wav.read_bytes()
    except FileNotFoundError:
        raise SystemExit("flite is not installed: apt install flite") from None
    finally:
        wav.unlink(missing_ok=True)


def encode(wav: bytes, extension: str) -> bytes:
    """Encode a WAV file in another format, without dates or random ids."""
    codec, bit_rate = CODECS[extension]
    out = io.BytesIO()
    with (
        av.open(io.BytesIO(wav), "r") as source,
        av.open(out, "w", format=MUXERS.get(extension, extension), options={"fflags": "+bitexact"}) as target,
    ):
        stream = cast("AudioStream", target.add_stream(codec, rate=16_000, layout="mono"))
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        if bit_rate:
            stream.bit_rate = bit_rate
        for frame in source.decode(audio=0):
            frame.pts = None
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return out.getvalue()


def write_tables() -> None:
    """texts.csv, what is said; languages.csv, the same in other languages; manifest.csv, recordings as a source."""
    with (HERE / "languages.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "language", "text"])
        writer.writerows([f"languages/{name}", *spoken] for name, spoken in SPOKEN_LANGUAGES.items())
    with (HERE / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "voice", "text"])
        writer.writerows([spoken.file, spoken.voice, spoken.text] for spoken in SPOKEN_RECORDINGS)
    with (HERE / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "path", "language", "topic"])
        writer.writerows(
            [f"sample-{n}", f"recordings/{spoken.file}", "en", spoken.topic]
            for n, spoken in enumerate(SPOKEN_RECORDINGS, 1)
        )


def write_broken() -> None:
    """One file for each way a recording is commonly broken."""
    flac = next(path for path in RECORDINGS.iterdir() if path.suffix == ".flac").read_bytes()
    broken = {
        "zero-bytes.mp3": b"",
        "text.mp3": b"This is a note about a recording, not the recording.\n",
        "cut-off.flac": flac[: len(flac) // 2],
        "picture.wav": build_png_pixel(),
        "header-only.wav": build_wav_header(0),
        "random.ogg": random.Random(7).randbytes(2048),  # noqa: S311 (noise for a test file)
        "playlist.mp3": b"#EXTM3U\n#EXTINF:5,\nhttp://example.invalid/part-1.ts\n#EXT-X-ENDLIST\n",
    }
    for name, data in broken.items():
        (BROKEN / name).write_bytes(data)


def build_wav_header(size: int) -> bytes:
    """The 44 bytes before ``size`` bytes of 16 kHz mono 16-bit audio."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16, b"data", size
    )


def build_png_pixel() -> bytes:
    """A PNG of one white pixel."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0\xff")),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


if __name__ == "__main__":
    main()
