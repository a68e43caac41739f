"""Audio containers and codecs: those that are opened, those an endpoint accepts, the names they are sent under."""

from __future__ import annotations

from dataclasses import dataclass

from mediamill.tasks.wire import AudioLimits

DEMUXERS = (
    "wav,w64,mp3,flac,ogg,mov,matroska,webm,aiff,asf,aac,au,caf,amr,avi,mpegts,mpeg,flv,wv,ac3,eac3,"
    "adx,ape,dsf,dts,dtshd,dv,gxf,ircam,loas,mpc,mpc8,mxf,nistsphere,nut,qcp,rm,rso,shn,sox,tak,tta,voc,wtv"
)
"""Formats that FFmpeg may open. Playlists and lists of other files are not among them: they would use the network."""

WITH_CLOCK = frozenset({"mov", "matroska", "webm", "mpegts", "mpeg", "flv", "ogg", "asf", "nut", "wtv", "mxf", "gxf"})
"""Demuxers of containers that stamp their packets. Others, such as MP3, count samples, and have no holes."""
WITH_START = frozenset({"avi", "rm", "dv"})
"""Demuxers whose timestamps are good for the start of a track only."""
WITH_TRACK_LENGTHS = frozenset({"mov", "avi", "mxf", "dv"})
"""Demuxers of containers that state the length of each track, not only that of the whole."""
CLIPPED = frozenset({"mp4", "m4a", "mov", "3gp"})
"""Containers, by their common names, that show nothing of what is before their 0."""
MEASURED = frozenset({"mpegts", "mpeg"})
"""Demuxers whose lengths are only what their last packets say."""

PCM = frozenset(["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw", "pcm_mulaw"])
_DECODER_NAMES = """
    pcm_s8 pcm_s16be pcm_s24be pcm_s32be pcm_f32be pcm_f64be pcm_u16le pcm_u16be pcm_s64le pcm_bluray pcm_dvd s302m
    mp3 mp3float mp2 mp2float mp1 mp1float aac aac_latm opus libopus vorbis flac alac als speex wavpack
    ac3 eac3 dca truehd mlp gsm gsm_ms amrnb amrwb libopencore_amrnb libopencore_amrwb evrc qcelp ilbc g722 g723_1
    g726 g726le g728 g729 siren msnsiren wmav1 wmav2 wmapro wmalossless wmavoice xma1 xma2
    adpcm_ms adpcm_ima_wav adpcm_ima_qt adpcm_ima_dk3 adpcm_ima_dk4 adpcm_yamaha adpcm_swf adpcm_ct adpcm_sbpro_2
    adpcm_sbpro_3 adpcm_sbpro_4 adpcm_ima_oki adpcm_adx ape tta tak mpc7 mpc8 shorten dvaudio nellymoser cook sipr
    real_144 real_288 ralf atrac3 atrac3plus truespeech mace3 mace6 qdm2 qdmc metasound imc iac dss_sp
    dsd_lsbf dsd_msbf dsd_lsbf_planar dsd_msbf_planar
"""
DECODERS = PCM | frozenset(_DECODER_NAMES.split())
"""Audio decoders that may run. Images and video are never decoded to reach the audio beside them."""

RATES = range(2_000, 768_001)
"""Plausible sample rates, in Hz."""

MAX_CHANNELS = 64


@dataclass(frozen=True, slots=True)
class Container:
    """How a container is sent: its media type, the names an endpoint may list it under, its usual codecs."""

    mime: str
    names: tuple[str, ...]
    codecs: frozenset[str]


CONTAINERS = {
    "wav": Container("audio/wav", ("wav",), PCM),
    "mp3": Container("audio/mpeg", ("mp3", "mpga", "mpeg"), frozenset({"mp3", "mp3float"})),
    "flac": Container("audio/flac", ("flac",), frozenset({"flac"})),
    "m4a": Container("audio/mp4", ("m4a", "mp4"), frozenset({"aac", "alac"})),
    "mp4": Container("audio/mp4", ("mp4", "m4a"), frozenset({"aac", "alac"})),
    "webm": Container("audio/webm", ("webm",), frozenset({"opus", "vorbis"})),
    "ogg": Container("audio/ogg", ("ogg", "oga"), frozenset({"vorbis", "opus", "flac"})),
    "opus": Container("audio/ogg", ("opus", "ogg", "oga"), frozenset({"opus"})),
    "aac": Container("audio/aac", ("aac",), frozenset({"aac"})),
    "aiff": Container("audio/aiff", ("aiff", "aif"), frozenset({"pcm_s16be", "pcm_s24be"})),
}
"""Containers that can be sent as they are. Every other one is converted."""

_BY_DEMUXER = {"asf": "wma", "mpegts": "ts", "matroska,webm": "mkv"}


def container_name(demuxer: str, head: bytes, codec: str, *, brand: str = "", video: bool = False) -> str:
    """The common name of the container that FFmpeg opened.

    Args:
        demuxer: FFmpeg's name, which is shared by whole families (``mov,mp4,m4a,3gp,3g2,mj2``).
        head: the file's first bytes; the EBML document type in them tells webm from mkv.
        codec: the audio codec.
        brand: the MP4 family's ``major_brand``.
        video: there is a video track beside the audio.
    """
    if "mp4" in demuxer.split(","):
        if brand == "qt  ":
            return "mov"
        return "3gp" if brand.startswith("3g") else "mp4" if video else "m4a"
    if demuxer.startswith("matroska") and b"webm" in head[:64]:
        return "webm"
    if demuxer == "ogg" and codec in ("opus", "libopus"):
        return "opus"
    return _BY_DEMUXER.get(demuxer, demuxer.split(",", maxsplit=1)[0])


def find_send_format(container: str, codec: str, limits: AudioLimits) -> tuple[str, str] | None:
    """Media type and file extension to send a container under; None when it must be converted.

    A container with an unusual codec inside (ADPCM in WAV, MP3 in MP4) is converted too: endpoints name
    containers but decode only the usual codecs in them.
    """
    known_container = CONTAINERS.get(container)
    if known_container is None or codec not in known_container.codecs:
        return None
    name = next((name for name in known_container.names if name in limits.formats), None)
    return (known_container.mime, name) if name else None
