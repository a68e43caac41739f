"""Runs programs for node, each in a process and a folder of its own, and says how each ended."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.node_packages import find_node, install, make_node_environment
from tests.local.clients.sdk_environments import Ended, Program

NEWEST = (
    "together-ai@0.52.0",
    "openai@7.59.0",
    "groq-sdk@1.6.0",
    "ai@7.0.173",
    "@ai-sdk/togetherai@3.0.54",
    "@mastra/core@1.71.0",
    "ws@8.23.0",
    "node-fetch@3.3.2",
    "dotenv@18.0.10",
    "zod@4.6.7",
)
FIRST = (
    "together-ai@0.23.0",
    "ai@5.0.277",
    "@ai-sdk/togetherai@1.0.61",
    "@mastra/core@0.24.9",
    "ws@8.23.0",
    "node-fetch@3.3.2",
    "dotenv@18.0.10",
    "zod@4.6.7",
)
"""The last versions with what the providers' guides call and the newest do not have."""
_MAX_SECONDS = 120
_MAX_FAILURE_CHARACTERS = 1500


@dataclass(frozen=True, slots=True)
class NodeRunner:
    """Runs programs with one set of packages."""

    node: Path
    packages: Path

    @classmethod
    def prepare(cls, packages: Sequence[str]) -> NodeRunner:
        """Install what is missing; skips the test where that is not possible."""
        return cls(find_node(), install(*packages))

    def run(self, program: Program) -> Ended:
        """Run one program to its end; a promise that nobody catches is a failure."""
        link = program.folder / "node_modules"
        if not link.exists():
            link.symlink_to(self.packages / "node_modules")
        script = program.folder / "program.mts"
        script.write_text(program.text, encoding="utf-8")
        command = [str(self.node), "--no-warnings", "--preserve-symlinks", str(script)]
        environment = make_node_environment(**program.env)
        try:
            done = subprocess.run(
                command, cwd=program.folder, env=environment, capture_output=True, text=True, timeout=_MAX_SECONDS,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            return Ended(str(error.stdout or b""), f"did not end within {_MAX_SECONDS} s")
        shown = re.search(r"error", done.stderr, re.IGNORECASE)
        failure = (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode or shown else ""
        return Ended(done.stdout, failure[:_MAX_FAILURE_CHARACTERS])
