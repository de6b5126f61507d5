"""Portuguese, of both sides of the ocean."""

from rtstream.recognizer.number_speech.speech import Speech, Ways, counting, hands, ordinals, units

_FORMS = {
    "um": "um|uma",
    "dois": "dois|duas",
    "cem": "cem|cento",
    "e": "e|",
    "catorze": "catorze|quatorze",
    "dezasseis": "dezasseis|dezesseis",
    "dezassete": "dezassete|dezessete",
    "dezanove": "dezanove|dezenove",
}


def _form(word: str) -> str:
    return f"{word}|{word[:-2]}as" if word.endswith(("entos", "zentos")) else _FORMS.get(word, word)


_count = counting("pt", _form)
_ordinal = ordinals("pt", lambda word: f"{word}|{word[:-1]}a" if word.endswith("o") else word)


def _clock(hour: int, minute: int) -> Ways:
    said: list[str] = []
    for now, following, past, before in hands(_count, hour, minute):
        said += [f"{now} e {past}", f"{now} horas|hora e| {past}", f"{before} para as|a|o {following}"]
        said += {
            0: [now, f"{now} horas|hora", f"{now} em ponto"],
            15: [f"{now} e um quarto"],
            30: [f"{now} e meia"],
        }.get(minute, [])
    if hour in {0, 12}:
        name = "meia noite" if hour == 0 else "meio dia"
        said += [name] if minute == 0 else [f"{name} e meia"] if minute == 30 else []
    return tuple(said)


SPEECH = Speech(
    count=_count,
    ordinal=_ordinal,
    whole=lambda number: _ordinal(1) if number == 1 else (),
    ordinal_mark=r"\.?[ºª°]",
    clock=_clock,
    hour=("horas|hora e|",),
    hour_words=frozenset({"h", "horas", "hora"}),
    scales={3: ("mil",), 6: ("milhoes", "milhao"), 9: ("mil milhoes", "bilhoes|bilhao")},
    units=units("horas|hora", "quilometros|quilometro", "quilogramas|quilos|quilo", "centimetros|centimetro"),
    signs={
        "%": ("por cento", "porcento"),
        "&": ("e", "and"),
        "+": ("mais",),
        "=": ("igual a", "e igual a", "e"),
        "@": ("arroba",),
        "#": ("cardinal", "jogo da velha", "cerquilha", "numero", "hashtag"),
        "°": ("graus|grau",),
    },
    money={
        "€": ("euros|euro",),
        "$": ("dolares|dolar",),
        "US$": ("dolares|dolar",),
        "R$": ("reais|real",),
        "£": ("libras|libra",),
    },
    cents=("centimos|centimo|centavos|centavo",),
    between={
        ",": ("virgula", "e"),
        ".": ("ponto", "virgula"),
        "-": ("traco", "hifen", "menos", "a"),
        "/": ("barra", "de", "sobre"),
        ":": ("a", "e"),
    },
)
