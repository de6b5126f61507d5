"""Catalan, and what is otherwise in Valencia."""

from rtstream.recognizer.number_speech.speech import Speech, Ways, counting, hands, ordinals, units

_FORMS = {
    "un": "un|una|u",
    "dos": "dos|dues",
    "cents": "cents|centes",
    "vuit": "vuit|huit",
    "vuitanta": "vuitanta|huitanta",
    "disset": "disset|desset|dèsset",
    "divuit": "divuit|devuit|dihuit",
    "dinou": "dinou|denou|dèneu",
    "seixanta": "seixanta|xixanta",
}
_count = counting("ca", _FORMS)


def _form(word: str) -> str:
    return f"{word}|{word[:-1]}ena" if word.endswith("è") else {"primer": "primer|primera", "segon": "segon|segona",
        "tercer": "tercer|tercera", "quart": "quart|quarta"}.get(word, word)  # fmt: skip


_ordinal = ordinals("ca", _form)
_QUARTERS = {15: "un quart de|d", 30: "dos quarts de|d", 45: "tres quarts de|d"}


def _clock(hour: int, minute: int) -> Ways:
    said: list[str] = []
    for now, following, past, before in hands(_count, hour, minute):
        said += [f"{now} i {past}", f"{now} hores|hora i| {past}", f"{now} {past}", f"{following} menys {before}"]
        said += [now, f"{now} hores|hora", f"{now} en punt"] if minute == 0 else []
        said += {15: [f"{now} i quart"], 30: [f"{now} i mitja"]}.get(minute, [])
        said += [f"{_QUARTERS[minute]} {following}"] if minute in _QUARTERS else []
    return tuple(said)


SPEECH = Speech(
    count=_count,
    ordinal=_ordinal,
    whole=lambda number: _ordinal(1) if number == 1 else (),
    ordinal_mark=r"\.?(?:[ºª°]|r|n|t|è|é|a|ns|rs)\b",
    clock=_clock,
    hour=("hores|hora i|", "i"),
    hour_words=frozenset({"h", "hores", "hora"}),
    scales={3: ("mil",), 6: ("milions", "milio"), 9: ("mil milions",)},
    units=units("hores|hora", "quilometres|quilometre", "quilograms|quilos|quilo", "centimetres|centimetre"),
    signs={
        "%": ("per cent", "percent"),
        "&": ("i", "and"),
        "+": ("mes",),
        "=": ("igual a", "es igual a", "es"),
        "@": ("arrova",),
        "#": ("coixinet", "numero", "hashtag"),
        "°": ("graus|grau",),
    },
    money={"€": ("euros|euro",), "$": ("dolars|dolar",), "£": ("lliures|lliura",)},
    cents=("centims|centim",),
    between={
        ",": ("coma", "amb", "i"),
        ".": ("punt", "coma"),
        "-": ("guio", "menys", "a"),
        "/": ("barra", "de"),
        ":": ("a", "i"),
    },
)
