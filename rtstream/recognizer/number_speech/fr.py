"""French, and the tens of Belgium and Switzerland."""

from rtstream.recognizer.number_speech.speech import Speech, Ways, counting, ordinals, units

_FORMS = {
    "un": "un|une",
    "vingts": "vingts|vingt",
    "vingt": "vingt|vingts",
    "cents": "cents|cent",
    "cent": "cent|cents",
}
_french = counting("fr", _FORMS)
_ordinals = ordinals("fr", lambda word: {"premier": "premier|premiere"}.get(word, word))
_FIRST_ODD = 70


def _count(number: int) -> Ways:
    if all(part % 100 < _FIRST_ODD for part in (number, number // 1000, number // 10**6)):
        return _french(number)
    others = (counting(language, _FORMS)(number) for language in ("fr_BE", "fr_CH"))
    return tuple(dict.fromkeys((*_french(number), *(way for ways in others for way in ways))))


def _ordinal(number: int) -> Ways:
    return (*_ordinals(number), *(("second|seconde",) if number == 2 else ()))


def _clock(hour: int, minute: int) -> Ways:
    said: list[str] = []
    for h in {hour, (hour - 1) % 12 + 1}:
        hours = {0: "minuit", 12: "midi"}
        now = [f"{_french(h)[0]} heures|heure", *([hours[h]] if h in hours else [])]
        following = f"{_french((h + 1) % 24)[0]} heures|heure"
        past = {0: ["", "pile"], 15: ["et quart"], 30: ["et demie|demi"]}.get(minute, [])
        said += [f"{each} {end}".strip() for each in now for end in [*past, _french(minute)[0]]]
        said += [f"{following} moins {_french((60 - minute) % 60)[0]}"]
        said += [f"{following} moins le quart"] if minute == 45 else []
    return tuple(said)


SPEECH = Speech(
    count=_count,
    ordinal=_ordinal,
    whole=lambda number: _ordinal(1) if number == 1 else (),
    ordinal_mark=r"(?:er|re|ère|ème|eme|nde|nd|e|è)\b",
    clock=_clock,
    hour=("heures|heure",),
    hour_words=frozenset({"h", "heures", "heure"}),
    hundred=("cent|cents",),
    scales={3: ("mille",), 6: ("millions|million",), 9: ("milliards|milliard",)},
    units=units("heures|heure", "kilometres|kilometre", "kilogrammes|kilos|kilo", "centimetres|centimetre"),
    signs={
        "%": ("pour cent", "pourcent"),
        "&": ("et", "and"),
        "+": ("plus",),
        "=": ("egal|egale", "est egal a"),
        "@": ("arobase", "at"),
        "#": ("diese", "numero", "hashtag"),
        "°": ("degres|degre",),
    },
    money={"€": ("euros|euro",), "$": ("dollars|dollar",), "£": ("livres|livre",)},
    cents=("centimes|centime|cents|cent",),
    between={
        ",": ("virgule",),
        ".": ("point", "virgule"),
        "-": ("tiret", "moins", "a"),
        "/": ("slash", "barre", "sur"),
        ":": ("a", "heures|heure"),
    },
)
