"""How good a speech model is on test clips: more figures for its rows, and rows as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rtstream.cli.score_table import score_table
from rtstream.evaluation.evaluate import normalizer
from rtstream.evaluation.lag import LagPoint
from rtstream.evaluation.phrase_score import score_phrases
from rtstream.evaluation.written_score import score_written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.table import Table

    from rtstream.evaluation.evaluate import Score
    from rtstream.recognizer.phrases import Phrase

Row = dict[str, Any]

COLUMNS = {
    "wer": "WER",
    "cer": "CER",
    "partial_wer": "partials",
    "shown_wer": "shown",
    "by_ctc": "by CTC",
    "rtf": "rtf",
}
"""What the table shows of a run, and its headings."""
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
STOP_COLUMN = {"stop_ms": "stop"}
BEAM_COLUMN = {"beam": "beam", "full_context": "full context"}
LAG_COLUMNS = {
    "shown_wer": "shown",
    "shown_words": "words",
    "lag_mean": "lag",
    "lag_p90": "p90",
    "early_share": "early",
    "early_mean": "early lag",
    "early_p90": "early p90",
}
LAG_CAPTION = (
    "Words as they appear. stop: ms that the decoder's partials stay behind; shown: WER of partials as above, over so "
    "many words; lag, p90: mean and 90th percentile of the ms of audio from the end of a word to where it stands in a "
    "partial for good, or to its segment's end where only the final has it; early: per cent of words that partials "
    "had, and their lag. Computing takes its time besides."
)
WRITTEN_COLUMNS = {"punctuation_f1": "punctuation", "case_accuracy": "case"}
WRITTEN_CAPTION = (
    "Finals as they are written. punctuation: F1 of all marks, case: words that are right in case too, in per cent; -: "
    "the set's references have none."
)
DIGIT_COLUMNS = {"digit_clips": "digits", "digits_right": "right", "digit_errors": "wrong digits"}
DIGIT_CAPTION = (
    " digits: clips of digits alone; right: those that are right from first to last, in whatever form, and wrong "
    "digits: of all of them, in per cent."
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
        "teacher": {
            name: figures[name] for name in ("wer", "cer", "rtf", "punctuation", "case", "digits", "published")
        },
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
    """Rows as tables for the terminal: error rates, lag, how finals are written, words where there are none."""
    cells = [row | _cells(row) for row in rows]
    listed, taught = (any(name in row for row in rows) for name in ("phrases", "teacher"))
    columns, caption = COLUMNS | (PHRASE_COLUMNS if listed else {}), CAPTION + (PHRASE_CAPTION if listed else "")
    run = _run_columns(rows)
    tables = [score_table(cells, {"set": "set", "clips": "clips"} | run | columns, LEFT, caption)]
    if timed := [row for row in cells if row["lag_mean"] is not None and row["partials_by"] != "none"]:
        tables.append(score_table(timed, run | STOP_COLUMN | LAG_COLUMNS, LEFT, LAG_CAPTION))
    if spoken := [row for row in cells if row["wer"] is not None]:
        columns, caption = run | WRITTEN_COLUMNS, WRITTEN_CAPTION
        if any(row["digits"] for row in spoken):
            columns, caption = columns | DIGIT_COLUMNS, caption + DIGIT_CAPTION
        if taught:
            columns, caption = columns | TEACHER_COLUMNS, caption + TEACHER_CAPTION
        tables.append(score_table(spoken, columns, LEFT, caption))
    if published := [row for row in cells if row["published"]]:
        tables.append(score_table(published, run | PUBLISHED_COLUMNS, LEFT, PUBLISHED_CAPTION))
    return tables


def published_lines(rows: Sequence[Row]) -> Iterator[str]:
    """What was published of clips in which no English is spoken, tab-separated: what was measured, kind, and text.

    The text is the final, or in brackets the partial that no final followed.
    """
    columns = _run_columns(rows)
    for row in rows:
        what = " ".join("-" if row[name] is None else str(row[name]) for name in columns)
        for each in row["published"]["texts"] if row["published"] else []:
            yield f"{what}\t{each['kind']}\t{each['text'] or '[' + each['partial'] + ']'}"


def language_lines(rows: Sequence[Row]) -> Iterator[str]:
    """In how many of the longer clips the language was found, of all and of each language; where several may be."""
    columns = _run_columns(rows)
    for row in rows:
        if (found := row["languages"]) is None:
            continue
        what = " ".join("-" if row[name] is None else str(row[name]) for name in columns)
        each = ", ".join(f"{name} {its['right']:g} ({its['clips']})" for name, its in found["by_language"].items())
        yield f"{what}: language right in {found['right']:g} % of {found['clips']} clips of 3 s and more: {each}"


def lag_points(rows: Sequence[Row]) -> list[LagPoint]:
    """Rows as points of a plot, a curve for each set and for whatever else but the stop was varied.

    Rows of which no partial has been scored have none.
    """
    rows = [row for row in rows if row["shown_words"] and row["lag_ms"]]
    varied = [
        name
        for name in ("engine", "chunk_ms", "beam", "full_context", "phrases")
        if len({row.get(name) for row in rows}) > 1
    ]
    headings = RUN_COLUMNS | BEAM_COLUMN | PHRASE_COLUMNS
    return [
        LagPoint(
            curve=", ".join([row["set"], *(f"{headings[name]} {row[name]}" for name in varied)]),
            label=row["partials_by"] if row["stop_ms"] is None else str(row["stop_ms"]),
            lag=row["lag_ms"]["mean"],
            wer=row["shown_wer"],
        )
        for row in rows
    ]


def _run_columns(rows: Sequence[Row]) -> dict[str, str]:
    """What tells the rows apart."""
    settings = STOP_COLUMN | BEAM_COLUMN
    return RUN_COLUMNS | {name: settings[name] for name in settings if len({row.get(name) for row in rows}) > 1}


def _cells(row: Row) -> Row:
    names = ("teacher", "against_teacher", "published", "lag_ms", "digits")
    theirs, against, published, lag, digits = (row.get(name) or {} for name in names)
    early = lag.get("early")
    return {
        "punctuation_f1": _f1(row),
        "case_accuracy": _accuracy(row),
        "teacher_wer": theirs.get("wer"),
        "teacher_punctuation_f1": _f1(against),
        "teacher_case_accuracy": _accuracy(against),
        "shown_wer": row["shown_wer"] if row["shown_words"] else None,
        "lag_mean": lag.get("mean"),
        "lag_p90": lag.get("p90"),
        "early_share": early and round(100 * early["words"] / lag["words"]),
        "early_mean": early and early["mean"],
        "early_p90": early and early["p90"],
        "digit_clips": digits.get("clips"),
        "digits_right": digits.get("accuracy"),
        "digit_errors": digits.get("error_rate"),
        "words_per_hour": published.get("words_per_hour"),
        "partial_words_per_hour": published.get("partial_words_per_hour"),
    }


def _f1(row: Mapping[str, Any]) -> float | None:
    marks = row.get("punctuation")
    return marks["all"]["f1"] if marks else None


def _accuracy(row: Mapping[str, Any]) -> float | None:
    case = row.get("case")
    return case["accuracy"] if case else None
