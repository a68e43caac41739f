"""What runs store: the journal is its owner's alone, published files follow the umask, no link leads out of OUT."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediamill.tasks.errors import StorageError
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.sinks.atomic_file import write_json
from mediamill.tasks.system.private_files import make_private_folder
from tests.helpers.cli_runs import bare_environment, mediamill
from tests.helpers.tiers import mark_rest_long

FOLDERS = [".journal", ".tmp", "media", "results", "failures", "calls", "runs"]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "texts.csv").write_text("id,text\na,A word.\nb,Another one.\n")
    return tmp_path / "texts.csv"


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def get_mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def assert_private(folder: Path) -> None:
    """Only the owner may enter the folder or read what is in it."""
    found = [folder, *folder.rglob("*")]
    assert len(found) > 1
    for path in found:
        assert get_mode(path) & 0o077 == 0, f"{path} {get_mode(path):o}"


@pytest.mark.long
def test_a_run_keeps_its_journal_private(texts: Path, umask: int, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "mediamill.flows.cli",
        "speak",
        texts,
        "--provider",
        "local",
        "--out",
        out,
    ]
    done = subprocess.run(command, env=bare_environment(tmp_path / "home"), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_private(out / ".journal")
    published = [path for path in out.rglob("*") if not path.relative_to(out).parts[0].startswith(".")]
    assert {path.parent.name for path in published} >= {"media", "results", "calls", "runs"}
    for path in published:
        assert get_mode(path) == (0o777 if path.is_dir() else 0o666) & ~umask, path
    for path in (out / ".journal", *(out / ".journal").rglob("*"), out / ".tmp"):
        path.chmod(get_mode(path) | 0o055 if path.is_dir() else 0o644)
    again = mediamill("speak", texts, "--provider", "local", "--out", out, "--no-cache", home=tmp_path / "home")
    assert again.returncode == 0, again.stderr
    for path in (out / ".journal", out / ".tmp", out / ".journal" / "journal.sqlite"):
        assert get_mode(path) & 0o077 == 0, "what an earlier version left open is closed"


@pytest.mark.parametrize("shared", [False, True])
def test_a_journal_is_shared_only_in_a_folder_of_a_group(shared: bool, umask: int, tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    if shared:
        folder.mkdir()
        folder.chmod(0o770)
    journal = Journal.open(tmp_path / "out", str(folder))
    try:
        journal.write_blocking(lambda connection: connection.exec_driver_sql("CREATE TABLE t (x)"))
        assert {path.name for path in folder.iterdir()} >= {"journal.sqlite", "journal.sqlite-wal"}
        assert get_mode(folder) == (0o770 if shared else 0o700)
        for path in folder.iterdir():
            assert get_mode(path) == (0o660 if shared else 0o600), path
    finally:
        journal.close()
    assert get_mode(tmp_path / "out" / ".journal") == 0o700


@pytest.mark.parametrize("name", mark_rest_long(FOLDERS, ["media"]))
def test_a_link_below_out_is_refused_before_anything_is_paid(name: str, texts: Path, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / name).symlink_to(elsewhere)
    done = mediamill("speak", texts, "--provider", "local", "--out", out, "--no-prefect", home=tmp_path / "home")
    assert done.returncode == 1
    assert f"out/{name}: is a symbolic link" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(elsewhere.iterdir())


def test_out_itself_may_be_a_link(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    write_json(tmp_path / "out", tmp_path / "out" / "runs" / "x.json", {"a": 1})
    assert (tmp_path / "disk" / "runs" / "x.json").exists()


def test_a_link_planted_later_is_not_followed(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept.json").write_text("kept")
    write_json(out, out / "runs" / "deep" / "x.json", {"a": 1})
    (out / "runs" / "y.json").symlink_to(elsewhere / "kept.json")
    write_json(out, out / "runs" / "y.json", {"a": 1})
    assert not (out / "runs" / "y.json").is_symlink(), "the link is replaced"
    (out / "runs").rename(out / "old")
    (out / "runs").symlink_to(elsewhere)
    with pytest.raises(StorageError, match="runs: is a symbolic link"):
        write_json(out, out / "runs" / "deep" / "x.json", {"a": 1})
    assert [path.name for path in elsewhere.iterdir()] == ["kept.json"]
    assert (elsewhere / "kept.json").read_text() == "kept"


@pytest.mark.parametrize("name", mark_rest_long(["journal.sqlite", "lock", "out_id", "elsewhere"], ["lock"]))
def test_a_link_in_the_journal_is_not_followed(name: str, texts: Path, tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    victim.write_text("")
    out.mkdir()
    make_private_folder(out / ".journal")
    (out / ".journal" / name).symlink_to(victim)
    done = mediamill("speak", texts, "--provider", "local", "--out", out, "--no-prefect", home=tmp_path / "home")
    assert victim.read_text() == ""
    assert "Traceback" not in done.stderr
    assert (out / ".journal" / name).is_symlink() is (done.returncode != 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_somebody_else_is_not_used() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / ".journal"
        folder.mkdir()
        for path in (folder.parent, folder):
            path.chmod(0o777)
        os.seteuid(65534)
        try:
            with pytest.raises(StorageError, match="belongs to another user"):
                make_private_folder(folder)
        finally:
            os.seteuid(0)


@pytest.mark.long
def test_a_crash_of_the_command_line_leaves_no_core_file() -> None:
    program = (
        "import atexit, resource, sys; from mediamill.flows.cli.main import main;"
        "resource.setrlimit(resource.RLIMIT_CORE, (4096, resource.getrlimit(resource.RLIMIT_CORE)[1]));"
        "atexit.register(lambda: print('core', *resource.getrlimit(resource.RLIMIT_CORE)));"
        "sys.argv = ['mediamill', '--version']; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "core 0 0", done.stderr
