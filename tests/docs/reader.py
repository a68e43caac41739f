"""A reader who follows a page: a folder with what pages name, and a shell for their blocks.

Nothing leaves the machine: the providers' addresses are those of a built-in server, and keys are made up.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from tests.docs.pages import Block, iter_shell_lines
from tests.helpers.paths import ROOT, SAMPLES

KEY = "reader-key-0123456789"
_TIMEOUT = 300
_ANSWERS = 10

_ADDRESSES = {
    "TOGETHER_BASE_URL": "/together/v1",
    "OPENAI_BASE_URL": "/openai-api/v1",
    "GROQ_BASE_URL": "/groq/openai/v1",
    "XAI_BASE_URL": "/xai/v1",
    "CO_API_URL": "/cohere/v1",
}
"""Each provider's variable for its address, and its path on the built-in server."""
_SELF_HOSTED = re.compile(r"http://localhost:8000/v1")
_RESULTS = re.compile(r"^results: +(?P<out>.+)/results$", re.MULTILINE)


class Reader:
    """Runs the blocks of a page in order, in a folder of its own.

    ``OUT`` in a line stands for the folder that the last run wrote, as a reader would take it.
    """

    def __init__(self, folder: Path, origin: str) -> None:
        self.folder = folder
        self.origin = origin
        self.out = ""
        folder.mkdir(parents=True)
        (folder / "home").mkdir()
        make_inputs(folder)

    def run(self, block: Block) -> list[str]:
        """Run a block's lines; what went wrong, a text for each line that failed."""
        environment = self._make_environment(block)
        if block.language == "python":
            result = self._execute([sys.executable, "-c", self._fill_in(block.code)], environment)
            return [] if result.returncode == 0 else [f"{block.place}: exit {result.returncode}\n{result.stderr}"]
        problems: list[str] = []
        for number, line in iter_shell_lines(block):
            export = re.fullmatch(r"export (?P<name>\w+)=(?P<value>\S+)", line)
            if export:
                environment[export["name"]] = KEY if export["value"] == "..." else export["value"]
                continue
            if line.startswith("uv run pytest"):
                problems += _find_collection_problem(f"{block.page}:{number}", line)
                continue
            result = self._execute(["bash", "-euo", "pipefail", "-c", self._fill_in(line)], environment)
            found = _RESULTS.findall(result.stdout + result.stderr)
            self.out = str(self.folder / found[-1]) if found else self.out
            if result.returncode:
                place = f"{block.page}:{number}"
                problems.append(f"{place}: exit {result.returncode}: {line}\n{result.stdout}{result.stderr}")
        return problems

    def _fill_in(self, code: str) -> str:
        """A line as it is run here: the environment is there already, and addresses and OUT are this reader's."""
        code = re.sub(r"pip install uv && |\buv run (?=mediamill|python)", "", code)
        code = _SELF_HOSTED.sub(f"{self.origin}/compatible/v1", code)
        return re.sub(r"(?<![\w/])OUT\b", self.out, code) if self.out else code

    def _make_environment(self, block: Block) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in ("LANG", "TMPDIR", "VIRTUAL_ENV")}
        addresses = {name: f"{self.origin}{path}" for name, path in _ADDRESSES.items()}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        keys = dict.fromkeys(block.needs, KEY)
        ours = {"HOME": str(self.folder / "home"), "MEDIAMILL_SETTLE": "0", "MEDIAMILL_ASR_ENGINE": "pocketsphinx"}
        ours |= {"MEDIAMILL_EMBEDDING_ENGINE": "hashing", "MEDIAMILL_OCR_IN_DESCRIPTIONS": "0"}
        return {**kept, **addresses, **keys, "PATH": path, **ours}

    def _execute(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a command at a terminal, where the reader says yes to every quote."""
        ours, its = pty.openpty()
        os.write(ours, b"y\n" * _ANSWERS)
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=its, stdout=output, stderr=its, start_new_session=True
            )
            os.close(its)
            screen = _Screen(ours)
            code = process.wait(_TIMEOUT)
            errors = screen.read()
            output.seek(0)
            return subprocess.CompletedProcess(command, code, output.read(), errors)


class _Screen(threading.Thread):
    """Reads what comes to a terminal until nobody writes to it any more."""

    def __init__(self, terminal: int) -> None:
        super().__init__(daemon=True)
        self._terminal = terminal
        self._parts: list[bytes] = []
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):  # Linux says so where the last writer has closed it
            while part := os.read(self._terminal, 65536):
                self._parts.append(part)

    def read(self) -> str:
        """Everything, once the command has ended."""
        self.join(10)
        return b"".join(self._parts).decode(errors="replace").replace("\r\n", "\n")


def _find_collection_problem(place: str, line: str) -> list[str]:
    """Why a line's choice of tests is none; the tests are collected in the repository and not run."""
    options = shlex.split(line.removeprefix("uv run pytest"))
    command = [sys.executable, "-m", "pytest", *options, "--collect-only", "-n", "0", "-p", "no:cacheprovider"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    return [] if result.returncode == 0 else [f"{place}: exit {result.returncode}: {line}\n{result.stdout[-2000:]}"]


def make_inputs(folder: Path) -> None:
    """Everything that pages name: the samples and jobs of the repository, and files that a reader would have."""
    shutil.copytree(SAMPLES, folder / "data" / "samples")
    shutil.copytree(ROOT / "configs", folder / "configs")
    shutil.copy(ROOT / "prefect.yaml", folder)
    for name, pattern in (("recordings", "recordings/*.m4a"), ("photos", "pictures/*"), ("clips", "videos/*")):
        (folder / name).mkdir()
        for file in SAMPLES.glob(pattern):
            shutil.copy(file, folder / name)
    texts = ["the train to the city", "keys on the kitchen table"]
    schema = {"type": "object", "properties": {"topic": {"type": "string"}}, "required": ["topic"]}
    documents = [{"title": "Keys", "body": text} for text in texts]
    files = {
        "calls.csv": "path\nrecordings/keys.m4a\n",
        "shop.csv": "path,product\nphotos/house.jpg,bird house\nphotos/badge.webp,badge\n",
        "pairs.csv": "page,path\nfront,photos/house.jpg\nfront,photos/badge.webp\n",
        "prompts.csv": "prompt\na lighthouse in the evening\n",
        "texts.csv": "\n".join(["text", *texts]),
        "cells.csv": 'code,session\n"x = 2",one\n"print(x + 2)",one\n',
        "questions.csv": "query\nWhere are the keys?\n",
        "questions.jsonl": json.dumps({"query": "Where are the keys?", "documents": texts}),
        "corpus.jsonl": "\n".join(map(json.dumps, documents)),
        "attributes.json": json.dumps(schema),
        "answer.json": json.dumps(schema),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
