"""Makes the pages in docs/reference from the code they describe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.docs.reference.cli import make_cli_page
from tests.docs.reference.columns import make_columns_page
from tests.docs.reference.jobs import make_jobs_page
from tests.docs.reference.packages import make_packages_page
from tests.docs.reference.python import make_python_page
from tests.docs.reference.stubs import make_aio_stub, make_functions_stub
from tests.helpers.paths import ROOT

COMMAND = "uv run python -m tests.docs.reference"
"""Renews every page."""

PAGES: Mapping[Path, Callable[[], str]] = {
    ROOT / "docs" / "reference" / "cli.md": make_cli_page,
    ROOT / "docs" / "reference" / "columns.md": make_columns_page,
    ROOT / "docs" / "reference" / "job.md": make_jobs_page,
    ROOT / "docs" / "reference" / "packages.md": make_packages_page,
    ROOT / "docs" / "reference" / "python.md": make_python_page,
}
"""Each page and what makes its text."""

STUBS: Mapping[Path, Callable[[], str]] = {
    ROOT / "mediamill" / "aio.pyi": make_aio_stub,
    ROOT / "mediamill" / "capability_functions.pyi": make_functions_stub,
}
"""Each stub file and what makes its text."""
