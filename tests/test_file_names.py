"""Names of items' files: the source's own name, safe everywhere, and one item's alone."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.domain import Item
from mediamill.tasks.file_names import add_hash, choose_stem, name_file, to_stem_key

IDS = st.one_of(
    st.text(min_size=1),
    st.sampled_from(
        ["../../etc/passwd", "/abs", "..", ".", "~", "a\0b", "CON", "-rf", ".hidden", "a" * 5000, "\u202eexe", "\u200c"]
    ),
)


def name_of(item_id: str, location: str | None = None) -> str:
    item = Item(item_id, 0, item_id, location)
    stem = choose_stem(item)
    return name_file(item_id, stem or add_hash(stem, item_id), ".srt")


@given(IDS)
def test_a_name_is_never_a_path_or_hidden_and_nothing_that_a_shell_expands(item_id: str) -> None:
    for name in (name_of(item_id), name_file(item_id, None, ".srt"), name_of(item_id, f"/in/{item_id}")):
        assert os.path.basename(name) == name  # noqa: PTH119
        assert not name.startswith((".", "-", "~", " "))
        assert len(name.encode()) <= 220
        assert name.endswith(".srt")
        assert name.removesuffix(".srt").strip("\u200c\u200d")
        assert not set(name) & set('<>:"/\\|?*%$`')
        assert all(c.isprintable() or c in "\u200c\u200d" for c in name)


@given(IDS)
def test_a_plain_name_is_never_one_with_a_hash(item_id: str) -> None:
    hashed = add_hash(choose_stem(Item("x", 0, "x")), item_id)
    assert choose_stem(Item(hashed, 0, hashed)) == ""
    assert choose_stem(Item(f"{hashed}-2", 0, hashed)) == ""


@pytest.mark.parametrize(
    ("item_id", "location", "name"),
    [
        ("talk.mp4", "/in/talk.mp4", "talk.srt"),
        (
            "sub/Episode 1 (live) - Äpfel 你好.mp4",
            "/in/sub/Episode 1 (live) - Äpfel 你好.mp4",
            "Episode 1 (live) - Äpfel 你好.srt",
        ),
        ("2026.11.28.wav", "/in/2026.11.28.wav", "2026.11.28.srt"),
        ("v1.2", None, "v1.2.srt"),
        ("call 17", "/in/x.wav", "call 17.srt"),
        ("call.wav", "/elsewhere/x.wav", "call.srt"),
        ("https://a.example/b/talk%20one.mp3?key=1", "https://a.example/b/talk%20one.mp3?key=1", "talk one.srt"),
        ("what? a/b: c.mp4", "/in/what? a/b: c.mp4", "b- c.srt"),
        ("می‌خواهم हिन्दी.wav", "/in/می‌خواهم हिन्दी.wav", "می‌خواهم हिन्दी.srt"),
        (unicodedata.normalize("NFD", "é.wav"), unicodedata.normalize("NFD", "/in/é.wav"), "é.srt"),
    ],
)
def test_a_name_is_that_of_the_source(item_id: str, location: str | None, name: str) -> None:
    assert name_of(item_id, location) == name


def test_names_that_are_one_where_case_or_forms_count_for_nothing_have_one_key() -> None:
    names = ["Straße é", "STRASSE É", unicodedata.normalize("NFD", "strasse é"), "straße\u200d é"]
    assert len({to_stem_key(name) for name in names}) == 1


def test_files_of_one_item_have_numbers_that_no_other_items_name_can_have() -> None:
    assert name_file("row-1", "row", ".png", 2) == "row~2.png"
    assert "~" not in name_of("row~2")


def test_an_item_of_an_earlier_program_keeps_its_names() -> None:
    item_id = "lesson 1/\u00c4pfel \u4f60\u597d.txt"
    assert name_file(item_id, None, ".wav") == "lesson-1-\u00c4pfel-\u4f60\u597d.txt-43aee4abc6cd.wav"
    assert name_file("cat", None, ".png", 2) == "cat-77af778b51ab-2.png"
