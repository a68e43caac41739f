from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.domain import Item
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.sources import open_source

AUDIO = frozenset({"audio"})

NAMES = [
    "Aufnahme-Größe",
    "Enregistrement-été",
    "Grabación-mañana",
    "Запись-утро",
    "录音-早上",
    "録音-朝",
    "녹음-아침",
    "تسجيل-صباح",
    "הקלטה-בוקר",
    "Εγγραφή-πρωί",
    "บันทึก-เช้า",
    "रिकॉर्डिंग-सुबह",
    "রেকর্ডিং-সকাল",
    "பதிவு-காலை",
    "Nagranie-świt",
    "Kayıt-sabah",  # noqa: RUF001 (Turkish)
    "Bản-ghi-âm-sáng",
    "Nahrávka-ráno",
    "Felvétel-reggel",
    "Įrašas-rytas",
    "ჩანაწერი-დილა",
    "Ձայնագրություն-առավոտ",
]


def read_items(source: str | Path, **options: Any) -> list[Item]:
    return list(
        open_source(make_job(capability="transcribe", source=str(source), **options), AUDIO, frozenset()).items()
    )


def read_ids(source: str | Path, **options: Any) -> list[str]:
    return [item.item_id for item in read_items(source, **options)]


def write_files(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def read_refusal(source: str | Path, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        read_items(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_is_read_recursively_sorted_and_by_kind(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        "b.wav",
        "a/z.MP3",
        "a/b/c.opus",
        "a.flac",
        "notes.txt",
        "cover.jpg",
        ".hidden.wav",
        ".git/x.wav",
        "film.mp4",
        "noext",
    )
    found = read_items(tmp_path)
    assert [i.item_id for i in found] == ["a.flac", "a/b/c.opus", "a/z.MP3", "b.wav", "film.mp4"]
    assert [i.item_id for i in found] == sorted(i.item_id for i in found)
    assert [i.index for i in found] == [0, 1, 2, 3, 4]
    assert [i.location for i in found] == [str(tmp_path.resolve() / i.item_id) for i in found]
    assert all(i.source == f"{tmp_path}/{i.item_id}" and i.problem is None and not i.row for i in found)


def test_names_in_twenty_languages_are_ids(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        *(f"{name}/{name}.wav" for name in NAMES),
        "with space & 'quotes' \"two\".wav",
        "new\nline.wav",
        "100%.wav",
        "a[1].wav",
    )
    found = read_items(tmp_path)
    assert len(found) == len(NAMES) + 4
    assert all(i.location and Path(i.location).read_bytes().decode() == i.item_id for i in found)


def test_the_same_root_and_ids_however_the_folder_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, "in/a.wav")
    monkeypatch.chdir(tmp_path)
    sources = [
        open_source(make_job(capability="t", source=s), AUDIO, frozenset())
        for s in ("in", "./in/", str(tmp_path / "in"))
    ]
    assert len({w.root for w in sources}) == 1
    assert len({(i.item_id, i.fingerprint) for w in sources for i in w.items()}) == 1


def test_a_fingerprint_changes_with_the_file(tmp_path: Path) -> None:
    write_files(tmp_path, "a.wav")
    first = read_items(tmp_path)[0].fingerprint
    assert read_items(tmp_path)[0].fingerprint == first
    os.utime(tmp_path / "a.wav", ns=(1, 1))
    second = read_items(tmp_path)[0].fingerprint
    (tmp_path / "a.wav").write_bytes(b"longer than before")
    assert len({first, second, read_items(tmp_path)[0].fingerprint}) == 3


def test_links_stay_inside_and_loops_end(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_files(tmp_path, "outside/secret.wav")
    write_files(root, "a.wav", "store/.annex/b.bin", "sub/c.wav")
    (root / "loop").symlink_to(root)
    (root / "sub" / "up").symlink_to("..")
    (root / "linked-folder").symlink_to(root / "sub")
    (root / "out-folder").symlink_to(tmp_path / "outside")
    (root / "out.wav").symlink_to(tmp_path / "outside" / "secret.wav")
    (root / "in.wav").symlink_to("store/.annex/b.bin")
    (root / "broken.wav").symlink_to("nowhere.wav")
    (root / "self.wav").symlink_to("self.wav")
    assert read_ids(root) == ["a.wav", "in.wav", "sub/c.wav"]


def test_a_link_to_a_folder_may_itself_be_the_source(tmp_path: Path) -> None:
    write_files(tmp_path, "real/a.wav")
    (tmp_path / "link").symlink_to("real")
    assert read_ids(tmp_path / "link") == ["a.wav"]


def test_out_inside_the_source_is_skipped(tmp_path: Path) -> None:
    write_files(tmp_path, "a.wav", "results/media/spoken.wav", "other/b.wav")
    assert read_ids(tmp_path, out=str(tmp_path / "results")) == ["a.wav", "other/b.wav"]
    assert read_ids(f"{tmp_path}/**/*.wav", out=str(tmp_path / "results")) == ["a.wav", "other/b.wav"]


def test_pipes_and_folders_named_like_audio_are_no_items(tmp_path: Path) -> None:
    write_files(tmp_path, "a.wav", "album.mp3/01.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    assert read_ids(tmp_path) == ["a.wav", "album.mp3/01.wav"]


def test_a_name_that_is_not_utf8_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.wav")).write_bytes(b"x")
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    write_files(tmp_path, "b.wav")
    good, bad = read_items(tmp_path)
    assert (bad.item_id, bad.location) == ("caf\\xe9.wav", None)
    assert bad.problem is not None
    assert "UTF-8" in bad.problem
    assert good.problem is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read_is_a_problem(tmp_path: Path) -> None:
    write_files(tmp_path, "a.wav", "locked/b.wav")
    (tmp_path / "locked").chmod(0)
    try:
        found = read_items(tmp_path)
    finally:
        (tmp_path / "locked").chmod(0o700)
    assert [(i.item_id, bool(i.problem)) for i in found] == [("a.wav", False), ("locked/", True)]


def test_an_unreadable_folder_is_reported_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, "a.wav", "locked/b.wav")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = read_items(tmp_path)
    assert [(i.item_id, i.problem) for i in found][1] == ("locked/", "the folder cannot be read: Permission denied")


def test_globs_match_files_and_ids_are_relative_to_their_fixed_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(
        tmp_path,
        "x/a.wav",
        "x/b.mp3",
        "x/y/c.wav",
        "x/y/z/d.wav",
        "x/y/note.txt",
        "x/data.dat",
        "x/.h/e.wav",
        "w/a.wav",
    )
    monkeypatch.chdir(tmp_path)
    assert read_ids("x/*") == ["a.wav", "b.mp3"]
    assert read_ids("x/*.wav") == ["a.wav"]
    assert read_ids("x/**/*.wav") == ["a.wav", "y/c.wav", "y/z/d.wav"]
    assert read_ids("**/a.wav") == ["w/a.wav", "x/a.wav"]
    assert read_ids("**") == ["w/a.wav", "x/a.wav", "x/b.mp3", "x/y/c.wav", "x/y/z/d.wav"]
    assert read_ids("x/**/y/**/*.wav") == ["y/c.wav", "y/z/d.wav"]
    assert read_ids("x/*.dat") == ["data.dat"]
    assert read_ids("x/[ab].*") == ["a.wav", "b.mp3"]
    assert read_ids("x/.h/*") == ["e.wav"]
    assert read_ids("?/a.wav") == ["w/a.wav", "x/a.wav"]
    assert read_ids(f"{tmp_path}/x/*/c.wav") == ["y/c.wav"]
    assert read_items("x/*")[0].source == "x/a.wav"
    assert "x/*.ogg" in read_refusal("x/*.ogg")
    assert "no folder" in read_refusal("nowhere/*.wav")


def test_a_glob_enters_only_folders_that_can_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, "a.wav", "deep/er/b.wav")
    scanned: list[str] = []
    real = os.scandir

    def scandir(path: str) -> object:
        scanned.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert read_ids(f"{tmp_path}/*.wav") == ["a.wav"]
    assert set(scanned) == {str(tmp_path)}


def test_a_name_with_wildcards_that_exists_is_that_file(tmp_path: Path) -> None:
    write_files(tmp_path, "take[1].wav", "take1.wav")
    assert read_ids(tmp_path / "take[1].wav") == ["take[1].wav"]


def test_a_single_file_may_have_any_extension(tmp_path: Path) -> None:
    write_files(tmp_path, "voice.dat")
    (item,) = read_items(tmp_path / "voice.dat")
    assert (item.item_id, item.location, item.index) == ("voice.dat", str(tmp_path / "voice.dat"), 0)


def test_a_url_is_one_item() -> None:
    url = "https://example.org/talks/one.mp3?x=1"
    source = open_source(make_job(capability="transcribe", source=url), AUDIO, frozenset())
    (item,) = source.items()
    assert (item.item_id, item.location, item.is_url, source.root, source.name) == (url, url, True, url, "one.mp3")
    assert source.size_hint() == 1


def test_messages_say_why_a_source_cannot_be_used(tmp_path: Path) -> None:
    write_files(tmp_path, "pictures/a.jpg", "pictures/b.jpg", "pictures/c.txt", "recordings/a.wav")
    (tmp_path / "empty").mkdir()
    message = read_refusal(tmp_path / "pictures")
    assert "no audio files in" in message
    assert "found 3 other files: .jpg, .txt" in message
    assert "no audio files in" in read_refusal(tmp_path / "empty")
    assert "did you mean" in read_refusal(tmp_path / "recording")
    assert "no such file" in read_refusal(tmp_path / "nowhere" / "at" / "all")
    assert "s3://" in read_refusal("s3://bucket/x")
    assert "password" in read_refusal("https://me:secret@example.org/a.mp3")
    assert "secret" not in read_refusal("https://me:secret@example.org/a.mp3")
    assert "not a URL" in read_refusal("http:///a.mp3")
    assert "not a manifest" in read_refusal(tmp_path / "recordings", columns={"id": "x"})
    assert "empty" in read_refusal("")
    os.mkfifo(tmp_path / "pipe")
    assert "neither" in read_refusal(tmp_path / "pipe")
