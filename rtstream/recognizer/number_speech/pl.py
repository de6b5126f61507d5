"""Polish: its numbers have cases, and its years and days are places in a row."""

import re

from rtstream.recognizer.number_speech.speech import Speech, Ways, counting, inflected, ordinals, units

_FORMS = {
    "jeden": "jeden|jedna|jedno|jednego|jednej|jednym|jedną",
    "dwa": "dwa|dwie|dwóch|dwu|dwoma",
    "trzy": "trzy|trzech|trzema",
    "cztery": "cztery|czterech|czterema",
    "siedem": "siedem|siedmiu",
    "osiem": "osiem|ośmiu",
    "dwadzieścia": "dwadzieścia|dwudziestu",
    "trzydzieści": "trzydzieści|trzydziestu",
    "czterdzieści": "czterdzieści|czterdziestu",
    "sto": "sto|stu",
    "dwieście": "dwieście|dwustu",
    "tysiąc": "tysiąc|tysiąca",
    "tysiące": "tysiące|tysięcy",
    "milion": "milion|miliona",
}
_ENDS = ((r"naście$", "nastu"), (r"dziesiąt$", "dziesięciu"), (r"ęć$", "ęciu"), (r"ść$", "ściu"), (r"sta$", "stu"))


def _form(word: str) -> str:
    if word in _FORMS:
        return _FORMS[word]
    return next((f"{word}|{re.sub(end, other, word)}" for end, other in _ENDS if re.search(end, word)), word)


def _place(word: str) -> str:
    """The forms of a place in a row; of a count's word there are none."""
    if word.endswith("y") and word not in {"trzy", "cztery", "miliony", "miliardy"}:
        return "|".join(word[:-1] + end for end in ("y", "ego", "ym", "a", "ej", "e"))
    if word in {"drugi", "trzeci"}:
        stem = word if word == "trzeci" else word[:-1]
        return "|".join([word, f"{word}ego", f"{word}m", f"{stem}a", f"{word}ej", f"{word}e"])
    return inflected(word, _form)


_count = counting("pl", _form)
_ordinal = ordinals("pl", _place)


def _whole(number: int) -> Ways:
    return _ordinal(number) if 0 < number <= 31 or 1000 <= number <= 2100 else ()


def _clock(hour: int, minute: int) -> Ways:
    said: list[str] = []
    for h in {hour, (hour - 1) % 12 + 1}:
        if not 0 < h < 24:
            continue
        (now,), (following,) = _ordinal(h), _ordinal(h % 12 + 1)
        (past,), (before,) = _count(minute), _count((60 - minute) % 60)
        said += [f"{now} {past}", f"{past} po {now}", f"za {before} {following}"]
        said += {
            0: [now],
            15: [f"kwadrans po {now}", f"piętnaście po {now}"],
            30: [f"wpół do {following}"],
            45: [f"za kwadrans|piętnaście {following}"],
        }.get(minute, [])
    return tuple(said)


SPEECH = Speech(
    count=_count,
    ordinal=_ordinal,
    whole=_whole,
    ordinal_mark=r"\.(?!\d)|-?(?:go|ty|ta|szy|tego|ej)\b",
    clock=_clock,
    hour_words=frozenset({"h", "godz"}),
    scales={3: ("tysięcy|tysiące|tysiąc",), 6: ("milionów|miliony|milion",), 9: ("miliardów|miliardy|miliard",)},
    units=units("godzin|godziny|godzina", "kilometrów|kilometry|kilometr", "kilogramów|kilo|kilogram",
                "centymetrów|centymetry|centymetr"),
    signs={
        "%": ("procent|procenta|procentów|procentach",),
        "&": ("i", "and"),
        "+": ("plus",),
        "=": ("równa się", "równe", "to"),
        "@": ("małpa", "at"),
        "#": ("hasz", "krzyżyk", "numer", "hashtag"),
        "°": ("stopni|stopnie|stopień|stopnia",),
    },
    money={
        "€": ("euro",),
        "$": ("dolarów|dolary|dolar|dolara",),
        "£": ("funtów|funty|funt|funta",),
    },
    cents=("centów|centy|cent|groszy|grosze|grosz",),
    between={
        ",": ("przecinek", "i"),
        ".": ("kropka", "przecinek"),
        "-": ("kreska", "myślnik", "minus", "do"),
        "/": ("ukośnik", "łamane przez", "na"),
        ":": ("do",),
    },
)  # fmt: skip
