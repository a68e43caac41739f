"""docs/extending.md as a package: its files are written, its commands run, their output is compared with the page."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.paths import ROOT
from tests.packaging.environments import build_wheel, install_wheels

PAGE = ROOT / "docs" / "extending.md"
INSTALL = "pip install --editable ."
"""The page's own command, which needs a package index to build; the tests build and install a wheel instead."""
_FILE = re.compile(r"(?P<add>Add to )?`(?P<path>[^`]+)`:")
_EXIT_CODE = re.compile(r"exit code (\d)")


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page; ``add``: its text comes at the end of what the page had before."""

    path: str
    text: str
    add: bool


@dataclass(slots=True)
class PageCommands:
    """A block of commands, the lines that the page shows of their output, and the exit code that it names."""

    lines: list[str]
    exit_code: int
    in_background: bool
    expected: list[str] = field(default_factory=list)


@dataclass(slots=True)
class PageSection:
    """A part of the page under its heading."""

    heading: str
    files: list[PageFile] = field(default_factory=list)
    commands: list[PageCommands] = field(default_factory=list)


def read_page() -> list[PageSection]:
    """The sections of the page that have code. A block that is neither a file, commands nor output is an error."""
    sections = [PageSection("")]
    before = ""
    lines = iter(PAGE.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line.startswith("```"):
            _add_block(sections[-1], line.removeprefix("```"), _read_block(lines), before)
        elif line.startswith("## "):
            sections.append(PageSection(line.removeprefix("## ")))
        before = line or before
    return [section for section in sections if section.files or section.commands]


def _read_block(lines: Iterator[str]) -> list[str]:
    block = []
    for line in lines:
        if line == "```":
            break
        block.append(line)
    return block


def _add_block(section: PageSection, language: str, block: list[str], before: str) -> None:
    file = _FILE.fullmatch(before)
    if file:
        section.files.append(PageFile(file["path"], "\n".join(block) + "\n", bool(file["add"])))
    elif language == "sh":
        code = _EXIT_CODE.search(before)
        section.commands.append(
            PageCommands(block, int(code[1]) if code else 0, before.endswith("In another terminal:"))
        )
    elif language == "text":
        section.commands[-1].expected = block
    else:
        raise AssertionError(f"{PAGE.name}: nothing says what this {language or 'plain'} block is: {block[:1]}")


def write_files(section: PageSection, folder: Path) -> None:
    """Write the files of a section into the package's folder."""
    for file in section.files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if file.add else "w", encoding="utf-8") as stream:
            stream.write(file.text)


@dataclass(frozen=True, slots=True)
class BackgroundServer:
    """A server of the page that runs in the background: what it prints, and where it listens."""

    log: Path
    address: str

    def requests(self) -> list[dict[str, Any]]:
        """The requests that it has printed."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


class PageReader:
    """Follows the page: one environment, one folder, and one address for each server that the page starts."""

    def __init__(self, programs: Path, folder: Path, env: Mapping[str, str]) -> None:
        self.programs = programs
        self.folder = folder
        self.env = {**env, "PATH": f"{programs}{os.pathsep}{env['PATH']}", "COLUMNS": "120"}
        self.servers: dict[str, BackgroundServer] = {}

    def run(self, line: str, *, exit_code: int = 0) -> str:
        """Run a line of a shell; its output on both streams. An ``export`` holds for the lines after it."""
        if line == INSTALL:
            install_wheels(self.programs, build_wheel(self.folder / "built", self.folder))
            return ""
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self.env[name] = value
            return ""
        for address, server in self.servers.items():
            line = line.replace(address, server.address)
        done = subprocess.run(
            line,
            shell=True,
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == exit_code, f"{line}\n{done.stdout}"
        return done.stdout

    @contextmanager
    def follow(self, section: PageSection) -> Iterator[None]:
        """Write a section's files and run its commands; its servers run until the context ends."""
        write_files(section, self.folder)
        with ExitStack() as servers:
            for commands in section.commands:
                if commands.in_background:
                    for line in commands.lines:
                        servers.enter_context(self.serve(line))
                    continue
                output = "".join(self.run(line, exit_code=commands.exit_code) for line in commands.lines)
                missing = [line for line in commands.expected if " ".join(line.split()) not in " ".join(output.split())]
                assert not missing, f"{commands.lines}: the page shows {missing}, the output is\n{output}"
            yield

    @contextmanager
    def serve(self, line: str) -> Iterator[BackgroundServer]:
        """Run a server of the page on a free port; commands that name its address on the page reach it there."""
        port = line.rpartition(" ")[2]
        log = self.folder / f"server-{port}.log"
        with log.open("w") as out:
            command = f"exec {line.removesuffix(port)}0"
            process = subprocess.Popen(command, shell=True, cwd=self.folder, env=self.env, stdout=out, text=True)
        try:
            server = BackgroundServer(log, _wait_for_address(process, log))
            self.servers[f"http://127.0.0.1:{port}"] = server
            yield server
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_for_address(process: subprocess.Popen[str], log: Path) -> str:
    while True:
        ready = re.search(r"listening on (\S+)\n", log.read_text(encoding="utf-8"))
        if ready:
            return ready[1]
        assert process.poll() is None, "the server ended at once"
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
