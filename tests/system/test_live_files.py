"""Texts that processes show each other: those of dead and stopped processes are gone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mediamill.tasks.system.live_files import LiveFile

_CHILD = """
import sys
from pathlib import Path
from mediamill.tasks.system.live_files import LiveFile
file = LiveFile(Path(sys.argv[1]), "topic")
file.show("child")
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_a_process_shows_is_read_by_others_on_its_topic_until_it_closes(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "files"
    first, second, other = LiveFile(folder, "topic"), LiveFile(folder, "topic"), LiveFile(folder, "another")
    for file in (first, second, other):
        file.show(f"{file is first}")
    assert list(second.read_others().values()) == ["True"]
    first.show("a longer text")
    first.show("short")
    assert list(second.read_others().values()) == ["short"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    first.close()
    first.show("after its end")
    assert second.read_others() == {}
    second.close()
    other.close()
    assert list(folder.iterdir()) == []


def test_a_stopped_process_counts_as_gone_until_it_goes_on(tmp_path: Path) -> None:
    clock = iter([0.0, 7.0, 9.0, 60.0, 61.0])
    stopped, reader = LiveFile(tmp_path, "topic"), LiveFile(tmp_path, "topic", clock=lambda: next(clock))
    stopped.show("text")
    for is_there in (True, True, False, False):
        assert (list(reader.read_others().values()) == ["text"]) == is_there
    stopped.show("text")
    assert list(reader.read_others().values()) == ["text"]


def test_a_killed_process_is_gone_at_once_and_its_file_is_removed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _CHILD, str(tmp_path)]
    reader = LiveFile(tmp_path, "topic")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert list(reader.read_others().values()) == ["child"]
        child.kill()
    assert len(list(tmp_path.iterdir())) == 2
    assert reader.read_others() == {}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_is_no_such_text_or_a_link_counts_as_nothing(tmp_path: Path) -> None:
    reader = LiveFile(tmp_path, "topic")
    (tmp_path / "elsewhere").write_text("1 text")
    (tmp_path / "topic.link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "topic.empty").touch()
    os.mkfifo(tmp_path / "topic.pipe")
    assert reader.read_others() == {}
    assert (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        LiveFile(tmp_path / "file" / "folder", "topic")
