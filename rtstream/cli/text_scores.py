"""How good a translation model is on whole sentences: scores for each language and input, as a table."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from rtstream.cli.score_table import score_table
from rtstream.evaluation.evaluate_translation import inputs, score, tokens_per_second
from rtstream.translation.built_in import BuiltInTranslator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.table import Table

    from rtstream.evaluation.evaluate_translation import TranslationScore
    from rtstream.training.corpus.pairs import References
    from rtstream.translation.translator import Translator

COLUMNS = {
    "language": "to",
    "input": "input",
    "sentences": "sentences",
    "bleu": "BLEU",
    "chrf": "chrF",
    "tokens_per_second": "tokens/s",
}
"""What the table shows, and its headings."""
CAPTION = (
    "clean: English as written; spoken: in lower case, without punctuation, numbers in words; misheard: that with "
    "words in error. BLEU (13a) and chrF: sacreBLEU's. tokens/s: target pieces a CPU second, a sentence at a time."
)
SPEED_SENTENCES = 100
"""Of each language, by which speed is measured."""


def text_scores(
    translators: Mapping[str, Translator],
    sentences: Mapping[str, Sequence[References]],
    kinds: Sequence[str],
    error_rate: float,
    examples: int = 0,
) -> Iterator[dict[str, Any]]:
    """Scores of each language's model on its sentences for each kind of input, a row each.

    ``examples``: how many sentences, drawn by a fixed seed, a row shows in full. Raises TranslationError.
    """
    for language, translator in translators.items():
        rows = sentences[language]
        speed = _speed(translator, language, [row.english for row in rows[:SPEED_SENTENCES]])
        for kind in kinds:
            english = inputs(rows, kind, error_rate)
            found = score(rows, _translated(translator, language, english))
            figures = {"language": language, "input": kind, **_figures(found), "tokens_per_second": speed}
            yield figures | _examples(rows, english, found.translations, examples)


def text_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows as a table for the terminal."""
    return score_table(rows, COLUMNS, {"language", "input"}, CAPTION)


def _figures(found: TranslationScore) -> dict[str, Any]:
    return {"sentences": found.sentences, "bleu": round(found.bleu, 2), "chrf": round(found.chrf, 2)}


def _examples(
    rows: Sequence[References], english: Sequence[str], translations: Sequence[str], count: int
) -> dict[str, Any]:
    """Some of what was translated, drawn by a fixed seed."""
    chosen = sorted(random.Random(0).sample(range(len(rows)), min(count, len(rows))))
    return {"examples": [[english[i], translations[i], *rows[i].translations] for i in chosen]} if count else {}


def _translated(translator: Translator, language: str, english: Sequence[str]) -> list[str]:
    if isinstance(translator, BuiltInTranslator):
        return translator.translate_batch(english, language)
    return [translator.translate(text, language) for text in english]


def _speed(translator: Translator, language: str, english: Sequence[str]) -> int | None:
    """None for a model whose pieces are its own affair."""
    if not isinstance(translator, BuiltInTranslator):
        return None
    return round(tokens_per_second(lambda text: translator.translate(text, language), translator.count, english))
