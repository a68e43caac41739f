"""Which script a language is written in, and how many words a text in any script has."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import cache

_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
WHOLE_WORDS = re.compile(rf"[{_CJK}{_UNSPACED}]|(?:(?![{_CJK}{_UNSPACED}])[\w'\u2019])+")
"""A word; in scripts without spaces a single letter."""
_IDEOGRAPH = re.compile(f"[{_CJK}]")
_UNSPACED_LETTER = re.compile(f"[{_UNSPACED}]")
_IDEOGRAPHS_PER_WORD = 2
_LETTERS_PER_WORD = 5
"""Thai, Lao, Burmese and Khmer letters per word, with vowel signs (rough)."""

MIN_LETTERS = 12
"""The script of shorter texts is not checked: they may be a name or a number only."""
MIN_SCRIPT_SHARE = 0.5
"""Minimum share of a text's letters in its language's script."""

_LANGUAGES_BY_SCRIPT: Mapping[str, str] = {
    "CYRILLIC": "be bg kk ky mk mn ru sr tg tt uk ba uz az bs",
    "ARABIC": "ar fa ps sd ur ug pa ku az",
    "HEBREW": "he yi",
    "GREEK": "el",
    "ARMENIAN": "hy",
    "GEORGIAN": "ka",
    "DEVANAGARI": "hi mr ne sa sd",
    "BENGALI": "bn as",
    "GURMUKHI": "pa",
    "GUJARATI": "gu",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "SINHALA": "si",
    "THAI": "th",
    "LAO": "lo",
    "TIBETAN": "bo",
    "MYANMAR": "my",
    "KHMER": "km",
    "ETHIOPIC": "am ti",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CJK": "zh yue ja ko",
    "LATIN": "af az br bs ca cs cy da de en es et eu fi fo fr ga gl ha haw hr ht hu id is it jv la lb ln lt lv mg mi "
    "ms mt nl nn nb no oc pl pt ro sk sl sn so sq sr su sv sw tk tl tr uz vi yo",
}
"""Languages by script, as Unicode names it. A language may have several scripts, and each of them is right."""


def count_words(text: str) -> float:
    """How many words a text has; in scripts without spaces by the usual length of a word."""
    tokens = WHOLE_WORDS.findall(text)
    ideographs = sum(1 for token in tokens if _IDEOGRAPH.match(token))
    letters = sum(1 for token in tokens if _UNSPACED_LETTER.match(token))
    spaced = sum(1 for token in tokens if any(c.isalnum() for c in token)) - ideographs
    spaced -= sum(1 for token in tokens if _UNSPACED_LETTER.match(token) and token.isalnum())
    return spaced + ideographs / _IDEOGRAPHS_PER_WORD + letters / _LETTERS_PER_WORD


def script_fits(text: str, language: str) -> bool:
    """False when most of a text's letters are in no script of the language; True when that is unknown."""
    expected = _get_scripts_by_language().get(language)
    if expected is None:
        return True
    counts = Counter(script for letter in text if letter.isalpha() and (script := _find_script(letter)))
    total = counts.total()
    return total < MIN_LETTERS or sum(counts[script] for script in expected) >= MIN_SCRIPT_SHARE * total


@cache
def _get_scripts_by_language() -> dict[str, frozenset[str]]:
    scripts_by_language: dict[str, set[str]] = {}
    for script, languages in _LANGUAGES_BY_SCRIPT.items():
        for language in languages.split():
            scripts_by_language.setdefault(language, set()).add(script)
    return {language: frozenset(scripts) for language, scripts in scripts_by_language.items()}


@cache
def _find_script(letter: str) -> str | None:
    """``LATIN`` from ``LATIN SMALL LETTER A``; None for letters without a script."""
    name = unicodedata.name(letter, "")
    first = name.partition(" ")[0].removesuffix("-")
    return {"FULLWIDTH": "LATIN", "HALFWIDTH": "KATAKANA", "KANGXI": "CJK"}.get(first, first) or None
