"""Spanish."""

from rtstream.recognizer.number_speech.speech import Speech, Ways, counting, hands, ordinals, units


def _form(word: str) -> str:
    if word.endswith("uno"):
        return f"{word}|{word[:-1]}|{word[:-1]}a"
    if word.endswith(("cientos", "quinientos")):
        return f"{word}|{word[:-2]}as"
    return {"cien": "cien|ciento"}.get(word, word)


_count = counting("es", _form)
_ordinal = ordinals("es", lambda word: f"{word}|{word[:-1]}a|{word[:-1]}" if word.endswith("o") else word)


def _clock(hour: int, minute: int) -> Ways:
    said: list[str] = []
    for now, following, past, before in hands(_count, hour, minute):
        said += [f"{now} y {past}", f"{now} horas y {past}", f"{now} horas {past}", f"{following} menos {before}"]
        said += {0: [now, f"{now} horas", f"{now} en punto"], 15: [f"{now} y cuarto"], 30: [f"{now} y media"]}.get(
            minute, []
        )
        said += [f"{following} menos cuarto"] if minute == 45 else []
    return tuple(said)


SPEECH = Speech(
    count=_count,
    ordinal=_ordinal,
    whole=lambda number: _ordinal(1) if number == 1 else (),
    ordinal_mark=r"\.?(?:[ºª°]|er|o|a)\b",
    clock=_clock,
    hour=("horas", "hora"),
    hour_words=frozenset({"h", "horas", "hora", "hs"}),
    scales={3: ("mil",), 6: ("millones", "millon"), 9: ("mil millones",)},
    units=units("horas|hora", "kilometros|kilometro", "kilogramos|kilos|kilo", "centimetros|centimetro"),
    signs={
        "%": ("por ciento", "porciento"),
        "&": ("y", "e", "and"),
        "+": ("mas",),
        "=": ("igual a", "es igual a", "es"),
        "@": ("arroba",),
        "#": ("numeral", "almohadilla", "numero", "hashtag"),
        "°": ("grados|grado",),
    },
    money={"€": ("euros|euro",), "$": ("dolares|dolar|pesos|peso",), "US$": ("dolares|dolar",), "£": ("libras|libra",)},
    cents=("centimos|centimo|centavos|centavo",),
    between={
        ",": ("coma", "con", "y"),
        ".": ("punto", "coma"),
        "-": ("guion", "menos", "a"),
        "/": ("barra", "de", "entre"),
        ":": ("a", "y"),
    },
)
