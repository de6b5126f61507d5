"""Events for tests."""

from rtstream.events import Final, Partial, Translation, Word


def final(number: int, text: str = "words that were said") -> Final:
    """Make a final whose segment tells it from the others."""
    start = number * 16_000
    return Final(number, start, start + 8_001, text, (Word("words", start, start + 4_000, 0.5),), "ctc")


def partial(number: int, text: str = "wor") -> Partial:
    start = number * 16_000
    return Partial(number, start, start + 4_000, text)


def translation(number: int, text: str = "dijo", language: str = "es", *, final: bool = True) -> Translation:
    start = number * 16_000
    return Translation(number, start, start + 8_001, text, language, final)
