"""Runs programs one after another in this interpreter, and writes for each how it ended: its own environment has SDKs.

Arguments: a JSON file with a list of ``folder``, ``text`` and ``env``, and the file for the results.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path


def main() -> None:
    programs = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with Path(sys.argv[2]).open("w", encoding="utf-8") as results:
        for program in programs:
            os.chdir(program["folder"])
            os.environ.pop("OPENAI_BASE_URL", None)
            os.environ.update(program["env"])
            printed, failure = io.StringIO(), ""
            try:
                with contextlib.redirect_stdout(printed):
                    exec(compile(program["text"], program["name"], "exec"), {"__name__": "__main__"})
            except BaseException as error:  # noqa: BLE001 - a program may raise anything
                failure = f"{type(error).__name__}: {error}"[:500]
            results.write(json.dumps([program["name"], printed.getvalue(), failure]) + "\n")
            results.flush()


if __name__ == "__main__":
    main()
