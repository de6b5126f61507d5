"""How a translation model does while people speak: scores for each mask, as a table and as a PNG."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rtstream.cli.score_table import score_table
from rtstream.evaluation.retranslation import CachingTranslator, score_streaming

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.table import Table

    from rtstream.evaluation.retranslation import StreamingScore
    from rtstream.training.corpus.pairs import References
    from rtstream.translation.stabilizer import StabilizerConfig
    from rtstream.translation.translator import Translator

COLUMNS = {
    "language": "to",
    "keep": "keep",
    "mask": "mask",
    "context": "context",
    "laal": "LAAL s",
    "erasure": "NE",
    "bleu": "BLEU",
    "updates": "updates",
    "cost": "cost",
}
"""What the table shows, and its headings."""
CAPTION = (
    "keep, mask, context: as in the settings. LAAL (arXiv 2206.05807): seconds behind the speaker until a word changes "
    "no more; "
    "NE: normalized erasure (arXiv 1912.03393), words taken back for each word of the finals; BLEU: of the finals; "
    "updates: changes of the screen, a text; cost: seconds of computing a second of speech."
)


def streaming_scores(
    translators: Mapping[str, Translator],
    sentences: Mapping[str, Sequence[References]],
    configs: Sequence[StabilizerConfig],
) -> Iterator[StreamingScore]:
    """Score each language's model on its sentences, spoken at an even pace. Raises TranslationError."""
    for language, translator in translators.items():
        remembering = CachingTranslator(translator)
        for config in configs:
            yield score_streaming(remembering, language, sentences[language], config)


def streaming_row(score: StreamingScore) -> dict[str, Any]:
    """The figures of a score, rounded."""
    digits = {"laal": 2, "erasure": 3, "bleu": 1, "updates": 1, "cost": 4}
    return {name: round(value, digits[name]) if name in digits else value for name, value in asdict(score).items()}


def streaming_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows as a table for the terminal."""
    return score_table(rows, COLUMNS, {"language", "keep"}, CAPTION)
