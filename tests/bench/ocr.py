# ruff: noqa: RUF001 - letters of other scripts are what is measured
"""How well the built-in provider reads pages: character error rates, processor time and memory.

    uv run --group integration --with font-roboto --with font-source-serif-pro --with matplotlib \
        python -m tests.bench.ocr [pages] [layouts] [languages]

Half an hour on two busy cores: ``pages Roboto 8`` measures one font at one size.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from statistics import mean

from PIL import Image, ImageOps

from mediamill.tasks.local.ocr.base import PageText, join_lines
from mediamill.tasks.local.ocr.ocr_worker import read_page
from tests.helpers.ocr_pages import PARAGRAPHS, SPOILED, draw_page, encode, load_font, measure_errors

_FONTS = {
    "Roboto": ("font_roboto", "files/Roboto-Regular.ttf"),
    "Source Serif Pro": ("font_source_serif_pro", "files/SourceSerifPro-Regular.ttf"),
    "DejaVu Sans Mono": ("matplotlib", "mpl-data/fonts/ttf/DejaVuSansMono.ttf"),
    "DejaVu Sans": ("matplotlib", "mpl-data/fonts/ttf/DejaVuSans.ttf"),
}
_PAGE_FONTS = ("Roboto", "Source Serif Pro", "DejaVu Sans Mono")
_POINTS = (8, 11, 16)
_THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
_MIN_CONFIDENCE = 0.6

LANGUAGES: Mapping[str, str] = {
    "English": "The ferry leaves at dawn, and whoever misses it waits until the evening.",
    "German": "Die Fähre legt im Morgengrauen ab; wer sie verpaßt, wartet bis zum Abend. Größe, Übung, Öl.",
    "French": "Le bac part à l'aube ; celui qui le manque attend jusqu'au soir. Çà et là, un œuf, où êtes-vous ?",
    "Spanish": "El transbordador sale al amanecer; ¿quién espera hasta la noche? ¡El pingüino, mañana!",
    "Portuguese": "A balsa sai ao amanhecer; quem a perde espera até à noite. Não há pão, só maçãs.",
    "Italian": "Il traghetto parte all'alba; chi lo perde aspetta fino a sera. Perché? Così è più facile.",
    "Polish": "Prom odpływa o świcie, a kto się spóźni, czeka aż do wieczora. Zażółć gęślą jaźń.",
    "Czech": "Trajekt odplouvá za úsvitu a kdo ho zmešká, čeká až do večera. Příliš žluťoučký kůň.",
    "Hungarian": "A komp hajnalban indul, aki lekési, estig vár. Árvíztűrő tükörfúrógép.",
    "Turkish": "Feribot şafakta kalkar; kaçıran akşama kadar bekler. Çığ, ışık, güneş, öğle.",
    "Vietnamese": "Phà rời bến lúc bình minh, ai lỡ chuyến phải đợi đến tối.",
    "Greek": "Το πλοίο φεύγει την αυγή και όποιος το χάσει περιμένει ως το βράδυ.",
    "Russian": "Паром уходит на рассвете, а кто опоздал, ждёт до вечера.",
    "Arabic": "تغادر العبارة عند الفجر، ومن فاتته ينتظر حتى المساء.",
}
"""One sentence or two of each, which its font, DejaVu Sans, has."""


def measure_pages() -> None:
    """Three fonts and three sizes, each clean and spoiled."""
    errors: dict[str, list[float]] = defaultdict(list)
    seconds: list[float] = []
    for name in [name for name in _PAGE_FONTS if name in sys.argv] or _PAGE_FONTS:
        for points in [points for points in _POINTS if str(points) in sys.argv] or _POINTS:
            page = draw_page(load_font(points, _find_font(name)))
            for way, spoil in SPOILED.items():
                began = time.process_time()
                read = read_page(encode(spoil(page)), _THREADS)
                seconds.append(time.process_time() - began)
                rate = measure_errors(" ".join(PARAGRAPHS), join_lines(read.lines))
                for key in (way, name, f"{points} points", "all"):
                    errors[key].append(rate)
                _print(f"{name:<18}{points:>3} points  {way:<14} {rate:.3f}")
    for key, rates in errors.items():
        _print(f"{key:<18} mean {mean(rates):.3f}  worst {max(rates):.3f}  {len(rates)} pages")
    _print(f"{mean(seconds):.1f} s of processor time a page; peak {_peak_megabytes()} MB, {_THREADS} threads")


def measure_layouts() -> None:
    """Two columns, with a heading and turned; light text on dark; a page sent larger than it is read."""
    font = load_font(11, _find_font("Roboto"))
    text = " ".join(PARAGRAPHS)
    heading = "Notes from the harbour, printed in two columns"
    columns = draw_page(font, PARAGRAPHS, columns=2, heading=heading)
    three = draw_page(load_font(8, _find_font("Roboto")), PARAGRAPHS, columns=3)
    clean = draw_page(font)
    large = clean.resize((clean.width * 2, clean.height * 2), Image.Resampling.LANCZOS)
    for name, page, expected in (
        ("two columns", columns, f"{heading} {text}"),
        ("two columns, askew", SPOILED["askew by 3"](columns), f"{heading} {text}"),
        ("two columns, turned", SPOILED["turned by 90"](columns), f"{heading} {text}"),
        ("three columns", three, text),
        ("light on dark", ImageOps.invert(clean), text),
        ("300 dots per inch", large, text),
    ):
        _print(f"{name:<20} {measure_errors(expected, join_lines(read_page(encode(page), _THREADS).lines)):.3f}")


def measure_languages() -> None:
    """One font, clean; with the share of characters of which the model is sure."""
    font = load_font(11, _find_font("DejaVu Sans"))
    for name, text in LANGUAGES.items():
        read = read_page(encode(draw_page(font, [text])), _THREADS)
        rate = measure_errors(text, join_lines(read.lines))
        _print(f"{name:<12} {rate:.3f}  sure of {_share_of_sure(read):.2f}  {join_lines(read.lines)!r}")


def _share_of_sure(page: PageText) -> float:
    total = sum(len(line.text) for line in page.lines)
    return sum(len(line.text) for line in page.lines if line.confidence >= _MIN_CONFIDENCE) / max(total, 1)


def _find_font(name: str) -> Path:
    package, file = _FONTS[name]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the font {name} is not there: run it as the first lines of {__file__} say")
    return Path(spec.submodule_search_locations[0]) / file


def _peak_megabytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


MEASUREMENTS = {"pages": measure_pages, "layouts": measure_layouts, "languages": measure_languages}

if __name__ == "__main__":
    for chosen in [name for name in sys.argv[1:] if name in MEASUREMENTS] or MEASUREMENTS:
        MEASUREMENTS[chosen]()
