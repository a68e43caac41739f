"""Other ways to write the path of a file: those of Windows, of macOS, and with spaces around it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from unicodedata import category, name, normalize

_WINDOWS_ROOT = re.compile(r"(?:file:/*)?([A-Za-z]):[\\/]|\\\\")


def list_other_forms(value: str) -> Iterator[str]:
    """What else a row's value may mean where no file has its name: without spaces around it, with slashes."""
    stripped = value.strip()
    forms = (stripped, stripped.replace("\\", "/"))
    yield from (form for form in dict.fromkeys(forms) if form and form != value)


def find_composed(path: str) -> str | None:
    """The file whose path has the same characters, composed or decomposed (NFC or NFD); None where there is none.

    Args:
        path: an absolute path.
    """
    if path.isascii():
        return None
    found = ""
    for part in path.split("/")[1:]:
        forms = (part, normalize("NFC", part), normalize("NFD", part))
        existing = next((form for form in forms if os.path.lexists(f"{found}/{form}")), None)
        if existing is None:
            return None
        found = f"{found}/{existing}"
    return found


def find_windows_problem(value: str) -> str | None:
    """Why a path with a drive or a server of Windows names no file here; None for any other path."""
    match = _WINDOWS_ROOT.match(value.strip())
    if not match:
        return None
    drive = f", or with --allow-paths as /mnt/{match[1].lower()}/... in WSL" if match[1] else ""
    return f"no such file: {value[:200]}, a path of Windows: write it relative to the list's folder{drive}"


def describe_invisible(value: str) -> str:
    """What to add to a message about a path that holds a character nobody sees; nothing for any other path."""
    character = next((c for c in value if category(c) in ("Cc", "Cf")), None)
    if character is None:
        return ""
    code = f"U+{ord(character):04X}"
    key = f"Ctrl-{chr(ord(character) + 64)}" if "\0" < character <= "\x1a" else name(character, "")
    label = f"{key} ({code})" if key else code
    return f"; it holds an invisible character, {label}: remove it from the list"
