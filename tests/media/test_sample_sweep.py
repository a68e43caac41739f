from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import OUTSIDE_SAMPLES, ROOT, SAMPLES, needs_outside_samples

OUTSIDE = ("audio_weird", "audio_formats", "speech", "video", "tiny", "image_bad", "image")
FOLDERS = [
    *(SAMPLES / name for name in ("broken", "recordings", "videos", "pictures")),
    *(pytest.param(OUTSIDE_SAMPLES / name, marks=(needs_outside_samples, pytest.mark.long)) for name in OUTSIDE),
]

# In a process of its own: should a decoder crash, the test says on which file.
SWEEP = """
import sys
from pathlib import Path
from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.prepare import prepare_audio
from mediamill.tasks.media.probe import read_audio_info
from tests.helpers.audio_files import LIMITS

for path in sorted(p for p in Path(sys.argv[1]).rglob("*") if p.is_file()):
    print(path.name, end=" ", flush=True)
    for judge in (read_audio_info, lambda path: prepare_audio(path, "0" * 64, LIMITS, Path(sys.argv[2]))):
        try:
            assert judge(path).seconds > 0
            print("ok", end=" ")
        except BadInput as error:
            assert error.message and "\\n" not in str(error)
            print(error.kind, end=" ")
    print(flush=True)
# Not getrusage: Linux carries ru_maxrss over from the process that forked this one.
status = Path("/proc/self/status")
marks = dict(line.split(":", 1) for line in status.read_text().splitlines()) if status.exists() else {}
print("peak", int(marks.get("VmHWM", "0 kB").split()[0]) // 1024)
"""


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_file_is_prepared_or_a_clear_error(folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, str(folder), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout.splitlines()[-1:]} {done.stderr[-2000:]}"
    *rows, peak = done.stdout.splitlines()
    assert len(rows) == sum(p.is_file() for p in folder.rglob("*"))
    assert int(peak.split()[1]) < 400
    kinds = {word for row in rows for word in row.split()[-2:]}
    assert kinds <= {"ok", "empty", "not_audio", "no_audio", "undecodable"}
    assert "ok" in kinds or folder.name.startswith(("image", "pictures"))
