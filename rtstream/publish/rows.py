"""A final as a row of the store keeps it: JSON, small, samples as they are."""

from __future__ import annotations

import json

from pydantic import TypeAdapter

from rtstream.events import Final, Translation

_FINAL = TypeAdapter(Final)
_TRANSLATION = TypeAdapter(Translation)
_TRANSLATED = ("segment", "start", "end", "text", "language", "time")


def final_to_json(final: Final) -> str:
    """All of a final; the words as lists."""
    words = [[word.text, word.start, word.end, round(word.confidence, 4)] for word in final.words]
    return json.dumps(
        [
            final.segment,
            final.start,
            final.end,
            final.text,
            words,
            final.source,
            final.confidence,
            final.time,
            final.language,
        ],
        ensure_ascii=False,
        separators=(",", ":"),
    )


def final_from_json(text: str) -> Final:
    """The final that was written. Raises ValueError if it was not written by :func:`final_to_json`.

    Rows of before have no language, and before that neither confidence nor time.
    """
    word = ("text", "start", "end", "confidence")
    fields = ("segment", "start", "end", "text", "words", "source", "confidence", "time", "language")
    try:
        values = json.loads(text)
        final = dict(zip(fields, values, strict=False))
        final["words"] = [dict(zip(word, spelt, strict=True)) for spelt in final["words"]]
    except (TypeError, KeyError) as error:
        raise ValueError(str(error)) from None
    return _FINAL.validate_python(final)


def translation_to_json(translation: Translation) -> str:
    """All of the translation of a final."""
    values = [getattr(translation, name) for name in _TRANSLATED]
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def translation_from_json(text: str) -> Translation:
    """The translation that was written. Raises ValueError if :func:`translation_to_json` did not."""
    try:
        fields = dict(zip(_TRANSLATED, json.loads(text), strict=True))
    except TypeError as error:
        raise ValueError(str(error)) from None
    return _TRANSLATION.validate_python(fields | {"final": True})
