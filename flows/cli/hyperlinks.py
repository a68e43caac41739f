"""Links to files on terminals that show them: OSC 8, an escape sequence that others would print or ignore."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from mediamill.flows.cli.console import print_line, print_link

_PROGRAMS = frozenset({"iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "Tabby", "rio", "WarpTerminal"})
_TERMS = re.compile(r"(xterm-kitty|kitty|xterm-ghostty|wezterm|foot|alacritty|contour)\b")
_VARIABLES = ("WT_SESSION", "KONSOLE_VERSION", "DOMTERM")
_FIRST_VTE = 5000
"""VTE 0.50, in the form of its variable."""


def supports_links(environ: Mapping[str, str]) -> bool:
    """Whether the terminal shows links, by the variables that terminals set.

    ``FORCE_HYPERLINK=1`` or ``0`` decides it, as other programs have it. A multiplexer may hide which terminal it is
    in, and gets none.
    """
    if forced := environ.get("FORCE_HYPERLINK"):
        return forced != "0"
    term = environ.get("TERM", "")
    if "TMUX" in environ or term.startswith(("screen", "tmux", "dumb")):
        return False
    vte = environ.get("VTE_VERSION", "")
    return (
        environ.get("TERM_PROGRAM") in _PROGRAMS
        or _TERMS.match(term) is not None
        or any(name in environ for name in _VARIABLES)
        or (vte.isdecimal() and int(vte) >= _FIRST_VTE)
    )


def print_path(label: str, path: Path, text: str) -> None:
    """Print a label and a path; where stdout is a terminal that shows links, as a link to it.

    Args:
        label: what stands before it.
        path: of a file or folder.
        text: the path as it is shown.
    """
    if sys.stdout.isatty() and supports_links(os.environ):
        print_link(label, path.absolute().as_uri(), text)
    else:
        print_line(f"{label} {text}")
