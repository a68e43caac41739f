"""Word and character errors of a text against a reference, normalised as in Whisper's paper (arXiv:2212.04356, C).

Numbers, spelling and contractions of English become one form; of other languages case, punctuation and marks go. Where
words are not spaced, each character counts as a word, as in the paper.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from mediamill.tasks.errors import UsageError

_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "km", "yue"})
"""Languages whose words are not spaced (ISO 639-1)."""


@dataclass(slots=True)
class TextErrors:
    """Counts of words and characters. ``replaced`` counts pairs of the reference's word and the one instead of it."""

    words: int = 0
    substituted: int = 0
    left_out: int = 0
    added: int = 0
    characters: int = 0
    character_errors: int = 0
    replaced: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def word_errors(self) -> int:
        """Words that are substituted, left out or added."""
        return self.substituted + self.left_out + self.added

    @property
    def wer(self) -> float | None:
        """Word error rate, above 1 where more is added than said; None where nothing is said."""
        return self.word_errors / self.words if self.words else None

    @property
    def cer(self) -> float | None:
        """Character error rate; None where nothing is said."""
        return self.character_errors / self.characters if self.characters else None

    def add(self, other: TextErrors) -> None:
        """Add the counts of another text."""
        for name in ("words", "substituted", "left_out", "added", "characters", "character_errors"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.replaced.update(other.replaced)


def count_text_errors(reference: str, text: str, language: str | None) -> TextErrors:
    """Count the errors of one text.

    Args:
        reference: what is right.
        text: what is judged.
        language: ISO 639-1 code, which says how both are normalised.

    Raises:
        UsageError: when the packages for it are not installed.
    """
    import jiwer

    normalize = get_normalizer(language)
    said, heard = " ".join(normalize(reference).split()), " ".join(normalize(text).split())
    if not said:
        return TextErrors(added=len(heard.split()), character_errors=len(heard))
    found, by_character = jiwer.process_words(said, heard), jiwer.process_characters(said, heard)
    errors = TextErrors(
        words=len(said.split()),
        substituted=found.substitutions,
        left_out=found.deletions,
        added=found.insertions,
        characters=len(said),
        character_errors=by_character.substitutions + by_character.deletions + by_character.insertions,
    )
    words, heard_words = said.split(), heard.split()
    for part in found.alignments[0]:
        if part.type == "substitute":
            before, after = (
                words[part.ref_start_idx : part.ref_end_idx],
                heard_words[part.hyp_start_idx : part.hyp_end_idx],
            )
            errors.replaced.update(zip(before, after, strict=True))
    return errors


@cache
def get_normalizer(language: str | None) -> Callable[[str], str]:
    """What normalises texts of a language.

    Raises:
        UsageError: when the packages for it are not installed.
    """
    try:
        import jiwer  # noqa: F401
        from whisper_normalizer.basic import BasicTextNormalizer
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as error:
        raise UsageError(
            f"to compare texts the package {error.name} is needed",
            hint="install the extra: uv sync --extra compare, or pip install 'mediamill[compare]'",
        ) from None
    normalizer: Callable[[str], str] = (
        EnglishTextNormalizer() if language == "en" else BasicTextNormalizer(split_letters=language in _UNSPACED)
    )
    return normalizer
