"""Providers and operations of other packages: a provider is a YAML file, an operation is a class."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import orjson
import pytest
from pydantic import Field

from mediamill.tasks.calls.request_key import request_key
from mediamill.tasks.domain import JSON, Ask, Input, Payload, Usage
from mediamill.tasks.errors import BadInput, BadReply, UsageError
from mediamill.tasks.plugins import OPERATION_GROUP, PROVIDER_GROUP
from mediamill.tasks.providers import operations, registry
from mediamill.tasks.providers.config import read_config
from mediamill.tasks.providers.operations.base import ModelFacts, Operation, OperationConfig, to_parsed
from mediamill.tasks.providers.operations.chat import CHAT, ChatModel, ChatOperation
from mediamill.tasks.providers.operations.transcription import TranscriptionConfig
from mediamill.tasks.wire import Parsed, Problem, Provider, Reply, Request, Wire

Installer = Callable[[Mapping[str, Mapping[str, str]]], None]

VENDOR = """
base_url: https://api.acme.example/v1
key_env: ACME_API_KEY
rate_limit_headers: [per_minute]
error_quirks: [forbidden_means_input]
operations:
  transcription:
    path: /audio/transcriptions
    default_model: acme-ears
    formats: [wav, flac]
    takes_urls: true
    url_field: file
    language_auto: auto
    models:
      acme-ears: {verbose: true, words: true, diarize: true}
  translation:
    path: /audio/translations
    language_fields: target
    any_model: {}
  chat:
    path: /chat/completions
    default_model: acme-7b
    limit_field: max_completion_tokens
    models:
      acme-7b: {max_output: 100, tools: false}
  summary:
    path: /summaries
    default_model: acme-short
    longest: 1000
    models:
      acme-short: {languages: [en, de]}
"""


STYLES = """
operations:
  rerank: {path: /rerank, STYLE: tei}
  image: {path: /images/generations, STYLE: xai}
  video: {path: /videos, STYLE: openai, takes: [prompt]}
  transcription: {path: /audio/transcriptions, socket: {path: /realtime, STYLE: vllm}}
"""


class SummaryModel(ModelFacts):
    """A model that summarises."""

    languages: tuple[str, ...] = ()

    def abilities(self) -> tuple[str, ...]:
        return ("sums up", *self.languages)


class SummaryConfig(OperationConfig[SummaryModel]):
    """An endpoint that summarises."""

    longest: int = Field(default=500, description="most characters of a text")


class SummaryOperation(Operation[SummaryConfig, SummaryModel]):
    """``POST /summaries``."""

    config_model = SummaryConfig
    facts_model = SummaryModel

    def to_wire(self, ask: Ask) -> Wire:
        text = str(ask.params["text"])
        if len(text) > self.config.longest:
            raise BadInput(f"{ask.model} takes at most {self.config.longest} characters", kind="too_long")
        body: dict[str, JSON] = {"model": ask.model, "text": text}
        return Wire(self.provider.key_origin(ask.model), self.path, body)

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        return Request("POST", wire.path, json=dict(wire.params))

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        content = orjson.loads(reply.body)
        if "summary" not in content:
            raise BadReply("no summary in the reply")
        return [to_parsed(reply, {"text": content["summary"]}, Usage(requests=1))]


YAML_FILE = Path()
"""The object that the providers' entry points load; each test sets it."""


@pytest.fixture
def acme_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install_entry_points: Installer
) -> Iterator[Provider]:
    """A provider that is a YAML file only, with an operation of the same package."""
    path = tmp_path / "acme.yaml"
    path.write_text(VENDOR, encoding="utf-8")
    monkeypatch.setattr(sys.modules[__name__], "YAML_FILE", path)
    install_entry_points(
        {
            OPERATION_GROUP: {"summary": f"{__name__}:SummaryOperation"},
            PROVIDER_GROUP: {"acme": f"{__name__}:YAML_FILE"},
        }
    )
    registry.load_config.cache_clear()
    yield registry.make_provider("acme", base_url=None, api_key_env=None, environ={"ACME_API_KEY": "k"})
    registry.load_config.cache_clear()


def build_recording_ask(model: str, operation: str = "transcription", **params: JSON) -> Ask:
    return Ask("x", operation, model, params, (Input("a" * 64, payload=Payload("", "", 0, url="https://e.org/a")),))


def test_a_yaml_file_of_another_package_is_a_provider(acme_provider: Provider) -> None:
    assert "acme" in registry.provider_names()
    assert registry.choose_default_provider({"ACME_API_KEY": "k"}, "summary") == "acme"
    assert "acme" in registry.providers_with("transcription")
    assert registry.key_env_name("acme", None) == "ACME_API_KEY"
    ask = build_recording_ask(acme_provider.choose_model("transcription", None), diarize=True)
    wire = acme_provider.to_wire(ask)
    assert (wire.origin, wire.path) == ("https://api.acme.example", "/v1/audio/transcriptions")
    assert (wire.params["language"], wire.params["diarize"]) == ("auto", True)
    assert acme_provider.build_request(wire, [ask]).files[0][0] == "file"
    assert acme_provider.to_wire(build_recording_ask("any", "translation", to="de")).params["language"] == "de"
    assert (
        acme_provider.parse_rate_limits(Reply(200, {"x-ratelimit-limit-requests": "600"}, b"")).requests_per_second
        == 10
    )
    problem = acme_provider.classify(Reply(403, {}, b'{"error": {"message": "no"}}'), "transcription")
    assert isinstance(problem, Problem)
    assert problem.kind == "bad_request"
    assert acme_provider.model_facts(CHAT, "another", ChatModel).max_output == 100


def test_a_class_of_another_package_is_an_operation(acme_provider: Provider) -> None:
    ask = Ask("sum", "summary", acme_provider.choose_model("summary", None), {"text": "long"})
    wire = acme_provider.to_wire(ask)
    assert acme_provider.build_request(wire, [ask]).path == "/v1/summaries"
    assert request_key("acme", ask, wire) == request_key("acme", ask, acme_provider.to_wire(ask))
    (answer,) = acme_provider.parse(Reply(200, {}, b'{"summary": "short"}'), [ask])
    assert answer.data == {"text": "short"}
    assert acme_provider.operation_config("summary", SummaryConfig).longest == 1000
    assert acme_provider.model_facts("summary", "acme-short", SummaryModel).abilities() == ("sums up", "en", "de")
    with pytest.raises(BadInput, match="at most 1000"):
        acme_provider.to_wire(Ask("sum", "summary", "acme-short", {"text": "x" * 1001}))
    with pytest.raises(UsageError, match="acme has no tts"):
        acme_provider.choose_model("tts", None)
    with pytest.raises(UsageError, match="summary of acme takes no audio"):
        acme_provider.audio_limits("summary", "acme-short")


def test_a_built_in_provider_and_operation_are_never_replaced(install_entry_points: Installer) -> None:
    target = f"{__name__}:SummaryOperation"
    install_entry_points({OPERATION_GROUP: {"chat": target}, PROVIDER_GROUP: {"openai": target}})
    registry.load_config.cache_clear()
    assert operations.load_operation_class("chat") is ChatOperation
    assert registry.load_config("openai").key_env == "OPENAI_API_KEY"
    assert registry.provider_names().count("openai") == 1


@pytest.mark.parametrize("field", ["api_style", "spelling"])
def test_the_old_name_of_the_api_style_still_works(tmp_path: Path, field: str) -> None:
    path = tmp_path / "styles.yaml"
    path.write_text(STYLES.replace("STYLE", field), encoding="utf-8")
    blocks = read_config(path).operations
    speech = blocks["transcription"]
    assert isinstance(speech, TranscriptionConfig)
    assert speech.socket is not None
    styles = [blocks[name].model_dump()["api_style"] for name in ("rerank", "image", "video")]
    assert [*styles, speech.socket.api_style] == ["tei", "xai", "openai", "vllm"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("operations: {chat: {path: /c, sampling: [top_p], spells: x}}", r"chat\.spells"),
        ("operations: {chat: {path: /c, default_model: m}}", "default_model 'm' is not among its models"),
        ("operations: {levitate: {path: /c}}", "there is no operation 'levitate'"),
        ("operations: {}\nkey_nev: X", "key_nev"),
        ("operations: [}", "expected"),
        ("operations: [chat]", "operations"),
        ("operations: {chat: 5}", "operations"),
        ("operations: {chat: {path: /c, adapter: 'mediamill.nowhere:Chat'}}", "chat: No module named"),
    ],
)
def test_a_wrong_configuration_is_one_line_that_names_file_and_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install_entry_points: Installer, text: str, words: str
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys.modules[__name__], "YAML_FILE", path)
    install_entry_points({PROVIDER_GROUP: {"wrong": f"{__name__}:YAML_FILE"}})
    registry.load_config.cache_clear()
    with pytest.raises(UsageError, match=words) as caught:
        registry.make_provider("wrong", base_url=None, api_key_env=None, environ={})
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert registry.choose_default_provider({"OPENAI_API_KEY": "k"}) == "openai"
