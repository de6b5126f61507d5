"""How good a speech model is on test clips: more figures for its rows, and rows as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rtstream.cli.score_table import score_table
from rtstream.training.evaluate import normalizer
from rtstream.training.phrase_score import score_phrases
from rtstream.training.written_score import score_written

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from rtstream.recognizer.phrases import Phrase
    from rtstream.training.evaluate import Score

Row = dict[str, Any]

COLUMNS = {
    "set": "set",
    "clips": "clips",
    "engine": "engine",
    "chunk_ms": "ms",
    "wer": "WER",
    "cer": "CER",
    "partial_wer": "partials",
    "shown_wer": "shown",
    "by_ctc": "by CTC",
    "rtf": "rtf",
}
"""What the table shows, and its headings."""
LEFT = {"set", "engine"}
CAPTION = (
    "Error rates of finals in per cent. partials: WER of the last ones; shown: the same without the segment's last "
    "words, which only the final has; by CTC: finals that it wrote; rtf: CPU seconds a second of audio."
)
PHRASE_COLUMNS = {"phrases": "phrases", "found": "found", "invented": "invented", "other_wer": "others"}
PHRASE_CAPTION = (
    " phrases: how many were listed; found: of those that were said, how many the finals have; invented: those that "
    "finals have and nobody said; others: WER of all other words."
)
RUN_COLUMNS = {"set": "set", "engine": "engine", "chunk_ms": "ms"}
WRITTEN_COLUMNS = {"punctuation_f1": "punctuation", "case_accuracy": "case"}
WRITTEN_CAPTION = (
    "Finals as they are written. punctuation: F1 of all marks, case: words that are right in case too, in per cent; -: "
    "the set's references have none."
)
TEACHER_COLUMNS = {
    "teacher_wer": "teacher",
    "teacher_punctuation_f1": "punctuation",
    "teacher_case_accuracy": "case",
}
TEACHER_CAPTION = " teacher: its WER; right of it punctuation and case of our finals against its texts."
PUBLISHED_COLUMNS = {"words_per_hour": "words/h", "partial_words_per_hour": "shown/h"}
PUBLISHED_CAPTION = (
    "Clips in which no English is spoken. words/h: words of finals an hour, and shown/h: of partials; they follow."
)


def teacher_row(teacher: Score, score: Score) -> Row:
    """The teacher's own figures on the same clips, and how well ours writes by its texts."""
    figures = teacher.figures()
    return {
        "teacher": {name: figures[name] for name in ("wer", "cer", "rtf", "punctuation", "case", "published")},
        "against_teacher": score_written(teacher.written, score.written).figures(),
    }


def phrase_row(score: Score, phrases: Sequence[Phrase], used: int) -> Row:
    """How often the phrases were found, of which ``used`` were listed."""
    normalize = normalizer()
    found = score_phrases(score.references, score.finals, [normalize(phrase.text) for phrase in phrases])
    return {
        "phrases": used,
        "found": f"{found.found}/{found.said}",
        "invented": found.invented,
        "other_wer": round(found.other_wer, 2),
    }


def speech_tables(rows: Sequence[Row]) -> list[Table]:
    """Rows as tables for the terminal: error rates, how finals are written, words where there are none."""
    cells = [row | _cells(row) for row in rows]
    listed, taught = (any(name in row for row in rows) for name in ("phrases", "teacher"))
    columns, caption = COLUMNS | (PHRASE_COLUMNS if listed else {}), CAPTION + (PHRASE_CAPTION if listed else "")
    tables = [score_table(cells, columns, LEFT, caption)]
    if spoken := [row for row in cells if row["wer"] is not None]:
        columns, caption = RUN_COLUMNS | WRITTEN_COLUMNS, WRITTEN_CAPTION
        if taught:
            columns, caption = columns | TEACHER_COLUMNS, caption + TEACHER_CAPTION
        tables.append(score_table(spoken, columns, LEFT, caption))
    if published := [row for row in cells if row["published"]]:
        tables.append(score_table(published, RUN_COLUMNS | PUBLISHED_COLUMNS, LEFT, PUBLISHED_CAPTION))
    return tables


def published_lines(row: Row) -> list[str]:
    """What was published of clips in which no English is spoken, tab-separated: what was measured, kind, and text.

    The text is the final, or in brackets the partial that no final followed.
    """
    texts = row["published"]["texts"] if row["published"] else []
    what = f"{row['set']} {row['engine']} {row['chunk_ms']}"
    return [f"{what}\t{each['kind']}\t{each['text'] or '[' + each['partial'] + ']'}" for each in texts]


def _cells(row: Row) -> Row:
    theirs, against, published = (row.get(name) or {} for name in ("teacher", "against_teacher", "published"))
    return {
        "punctuation_f1": _f1(row),
        "case_accuracy": _accuracy(row),
        "teacher_wer": theirs.get("wer"),
        "teacher_punctuation_f1": _f1(against),
        "teacher_case_accuracy": _accuracy(against),
        "words_per_hour": published.get("words_per_hour"),
        "partial_words_per_hour": published.get("partial_words_per_hour"),
    }


def _f1(row: Mapping[str, Any]) -> float | None:
    marks = row.get("punctuation")
    return marks["all"]["f1"] if marks else None


def _accuracy(row: Mapping[str, Any]) -> float | None:
    case = row.get("case")
    return case["accuracy"] if case else None
