"""Transcription requests: their form, checked as the dialect's provider checks it."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace

from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.multipart_form import Form

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,4})?")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_ENGLISH = "en"
_MAX_PROMPT_TOKENS = 224
_UNSTREAMED_MODELS = ("whisper-1",)
"""OpenAI ignores ``stream`` for these (provider docs)."""
_STREAMED_FORMATS = ("json", "text", "diarized_json")
_GRANULARITIES = {"word", "segment"}


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """A valid request.

    ``language`` is the spoken language as an ISO code, None for detection; ``to`` is the language to translate to, None
    for a transcription; ``url`` is None for an upload; ``stream`` asks for server-sent events; ``temperature`` is
    from 0 to 1.
    """

    model: str
    format: str
    language: str | None
    words: bool
    segments: bool
    diarize: bool
    url: str | None
    to: str | None = None
    stream: bool = False
    prompt: str | None = None
    temperature: float | None = None


def read_transcription_request(
    form: Form, dialect: Dialect, models: Mapping[str, frozenset[str]]
) -> TranscriptionRequest:
    """Check a form.

    Args:
        form: the parsed form.
        dialect: the provider's rules.
        models: the known models, with the reply formats they offer.

    Raises:
        ApiError: for the first invalid field, which it names.
    """
    if dialect.name == "xai":
        return _read_xai_transcription(form, dialect)
    model = form.get("model")
    if model is None:
        raise ApiError("missing_field", "you must provide a model parameter", param="model")
    if model not in models and (dialect.strict or models):
        raise _make_unknown_model_error(model, dialect)
    formats = models.get(model, dialect.formats)
    reply_format = form.get("response_format") or "json"
    if reply_format not in formats:
        what = f"response_format '{reply_format}' is not compatible with model '{model}'. Use one of: "
        raise ApiError("bad_value", what + ", ".join(sorted(formats)), param="response_format")
    temperature = _read_form_number(form, "temperature", 1.0)
    _check_prompt(form, dialect)
    granularities = set(form.get_list("timestamp_granularities"))
    if not granularities <= _GRANULARITIES:
        raise ApiError("bad_value", "use 'word' or 'segment'", param="timestamp_granularities")
    return TranscriptionRequest(
        model,
        reply_format,
        _read_language(form, dialect),
        words="word" in granularities,
        segments=dialect.language_style == "code" or "segment" in granularities or not granularities,
        diarize=_read_diarize(form, dialect) or reply_format == "diarized_json",
        url=_read_url(form, dialect),
        stream=_read_stream(form, dialect, model, reply_format),
        prompt=form.get("prompt") or None,
        temperature=temperature,
    )


def read_translation_request(
    form: Form, dialect: Dialect, models: Mapping[str, frozenset[str]], known: Container[str]
) -> TranscriptionRequest:
    """Check the form of a translation.

    Args:
        form: the parsed form.
        dialect: the provider's rules.
        models: those that translate, with the reply formats they offer.
        known: all models of the dialect; those that do not translate get their own error.

    Raises:
        ApiError: for the first invalid field, which it names.
    """
    model = form.get("model")
    if model in known and model not in models:
        raise ApiError("bad_value", f"The model `{model}` does not support translations", param="model")
    params = read_transcription_request(form, dialect, models)
    language, to = params.language, form.get("to_language") or _ENGLISH
    if dialect.name == "together":  # `language` is the target (provider docs)
        language, to = None, params.language or _ENGLISH
    elif dialect.strict:  # to English; there is no field for anything else (provider docs)
        language, to = None, _ENGLISH
    return replace(params, language=language, to=to, diarize=False, words=params.words and not dialect.segment_stats)


def _read_xai_transcription(form: Form, dialect: Dialect) -> TranscriptionRequest:
    """``/stt``: the model is optional, the reply always has words, ``format`` needs a language (provider docs)."""
    language = _read_language(form, dialect)
    if form.get("format") and language is None:
        raise ApiError("missing_field", "language is required when format is set", param="language")
    model = form.get("model") or "grok-voice-transcribe"
    diarize = _read_diarize(form, dialect)
    return TranscriptionRequest(
        model, "json", language, words=True, segments=False, diarize=diarize, url=_read_url(form, dialect)
    )


def _make_unknown_model_error(model: str, dialect: Dialect) -> ApiError:
    if dialect.name == "together":
        message = f"Unable to access non-serverless model {model}. Please create and start a dedicated endpoint for it."
    else:
        message = f"The model `{model}` does not exist or you do not have access to it."
    return ApiError("unknown_model", message, param="model")


def _read_url(form: Form, dialect: Dialect) -> str | None:
    """The file's URL, when no file is uploaded and the dialect accepts URLs."""
    if "file" in form.files:
        return None
    for name in dialect.url_fields:
        url = form.get(name)
        if url is not None:
            return url
    if form.get("file") is not None:
        raise ApiError("bad_value", "the field must hold a file, not text", param="file")
    raise ApiError("missing_field", "you must provide a file", param="file")


def _read_language(form: Form, dialect: Dialect) -> str | None:
    language = form.get("language")
    if language is None or (language == "auto" and dialect.takes_auto_language):
        return None
    if not _LANGUAGE.fullmatch(language):
        raise ApiError("bad_value", f"'{language}' is not a language in ISO-639-1 format", param="language")
    return language


def _read_form_number(form: Form, name: str, maximum: float) -> float | None:
    text = form.get(name)
    try:
        number = 0.0 if text is None else float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= maximum:
        raise ApiError("bad_value", f"must be a number between 0 and {maximum:g}", param=name)
    return None if text is None else number


def _check_prompt(form: Form, dialect: Dialect) -> None:
    """Groq accepts 224 tokens of prompt; each word is at least one token, so more words are surely too many."""
    if dialect.name == "groq" and len((form.get("prompt") or "").split()) > _MAX_PROMPT_TOKENS:
        raise ApiError("bad_value", f"prompt must be at most {_MAX_PROMPT_TOKENS} tokens", param="prompt")


def _read_stream(form: Form, dialect: Dialect, model: str, reply_format: str) -> bool:
    """Whether the reply is streamed; where the provider or the model has no streams, the field is ignored."""
    text = form.get("stream")
    if text is None or not dialect.streams_transcription or model in _UNSTREAMED_MODELS:
        return False
    if text.lower() not in _BOOLEANS:
        raise ApiError("bad_value", "must be true or false", param="stream")
    streams = _BOOLEANS[text.lower()]
    if streams and reply_format not in _STREAMED_FORMATS:
        raise ApiError("bad_value", f"response_format '{reply_format}' cannot be streamed", param="response_format")
    return streams


def _read_diarize(form: Form, dialect: Dialect) -> bool:
    text = form.get("diarize")
    if text is None or not dialect.takes_diarize:
        return False  # where the field does not exist it is ignored, as other unknown fields are
    if text.lower() not in _BOOLEANS:
        raise ApiError("bad_value", "must be true or false", param="diarize")
    return _BOOLEANS[text.lower()]
