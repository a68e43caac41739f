"""Renew the pages in docs/reference: ``uv run python -m tests.docs.reference``."""

from __future__ import annotations

import os
import sys

from tests.docs.reference import PAGES, STUBS
from tests.helpers.paths import ROOT


def main() -> None:
    """Write every page and print which ones changed."""
    os.environ["MEDIAMILL_EMBEDDING_ENGINE"] = "hashing"  # the page is the same, whatever extras are installed
    for path, make_page in (*PAGES.items(), *STUBS.items()):
        text = make_page()
        changed = not path.exists() or path.read_text(encoding="utf-8") != text
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}: {'renewed' if changed else 'is current'}\n")


if __name__ == "__main__":
    main()
