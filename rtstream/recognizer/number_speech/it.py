"""Italian."""

from rtstream.recognizer.number_speech.speech import Speech, Ways, counting, hands, ordinals, units


def _form(word: str) -> str:
    return f"{word}|{word[:-1]}|{word[:-1]}a" if word.endswith("uno") else word


_count = counting("it", _form)
_ordinal = ordinals("it", lambda word: "|".join(word[:-1] + end for end in "oaie") if word.endswith("o") else word)


def _clock(hour: int, minute: int) -> Ways:
    said: list[str] = []
    for now, following, past, before in hands(_count, hour, minute):
        said += [f"{now} e {past}", f"{now} {past}", f"{following} meno {before}"]
        said += {
            0: [now, f"{now} in punto"],
            15: [f"{now} e un quarto"],
            30: [f"{now} e mezza|mezzo"],
            45: [f"{following} meno un quarto", f"{now} e tre quarti"],
        }.get(minute, [])
    return tuple(said)


SPEECH = Speech(
    count=_count,
    ordinal=_ordinal,
    whole=lambda number: _ordinal(1) if number == 1 else (),
    ordinal_mark=r"\.?[ºª°]",
    clock=_clock,
    hour=("e", "ore e|", "ora e|"),
    hour_words=frozenset({"h", "ore"}),
    scales={3: ("mila", "mille"), 6: ("milioni", "milione"), 9: ("miliardi", "miliardo")},
    units=units("ore|ora", "chilometri|chilometro", "chili|chilo|chilogrammi|chilogrammo", "centimetri|centimetro"),
    signs={
        "%": ("per cento", "percento"),
        "&": ("e", "and"),
        "+": ("piu",),
        "=": ("uguale a|", "e uguale a"),
        "@": ("chiocciola", "at"),
        "#": ("cancelletto", "numero", "hashtag"),
        "°": ("gradi|grado",),
    },
    money={"€": ("euro",), "$": ("dollari|dollaro",), "£": ("sterline|sterlina",)},
    cents=("centesimi|centesimo",),
    between={
        ",": ("virgola", "e"),
        ".": ("punto", "virgola"),
        "-": ("trattino", "meno", "a"),
        "/": ("barra", "di", "su"),
        ":": ("a", "e"),
    },
)
