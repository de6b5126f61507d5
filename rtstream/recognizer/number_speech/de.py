"""German."""

import re

from rtstream.recognizer.number_converters import converter
from rtstream.recognizer.number_speech.speech import Speech, Ways, counting, hands, units

_FORMS = {"eins": "eins|ein|eine|einen|einem|einer|eines", "zwei": "zwei|zwo", "eine": "eine|ne"}
_german = counting("de", _FORMS)
_converter = converter("de")
_ENDS = ("te", "ten", "ter", "tes", "tem")
_LINKED = re.compile(r"(hundert|tausend)(?=(?:eins|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf)\b)")
_PRECEDING = re.compile(r"^ein(?=hundert|tausend)")


def _count(number: int) -> Ways:
    said = _german(number)
    short = [_PRECEDING.sub("", way) for way in said]
    linked = [_LINKED.sub(r"\1und", way) for way in short]
    return tuple(dict.fromkeys((*said, *short, *linked)))


def _whole(number: int) -> Ways:
    return (_converter.to_year(number),) if 1100 <= number < 2000 else ()


def _ordinal(number: int) -> Ways:
    if number > 10**6:
        return ()
    stem = _PRECEDING.sub("", _converter.to_ordinal(number)).removesuffix("te")
    return ("|".join(stem + end for end in _ENDS),)


def _clock(hour: int, minute: int) -> Ways:
    said: list[str] = []
    for now, following, past, before in hands(_german, hour, minute):
        said += [f"{now} uhr {past}", f"{past} nach {now}", f"{before} vor {following}"]
        said += {
            0: [f"{now} uhr", now],
            15: [f"viertel nach {now}", f"viertel {following}"],
            30: [f"halb {following}"],
            45: [f"viertel vor {following}", f"dreiviertel {following}"],
        }.get(minute, [])
        said += [f"{_german(30 - minute)[0]} vor halb {following}"] if 20 <= minute < 30 else []
        said += [f"{_german(minute - 30)[0]} nach halb {following}"] if 30 < minute <= 40 else []
    return tuple(said)


SPEECH = Speech(
    count=_count,
    ordinal=_ordinal,
    whole=_whole,
    ordinal_mark=r"\.(?!\d)",
    clock=_clock,
    hour=("uhr",),
    hour_words=frozenset({"uhr", "h"}),
    hundred=("hundert",),
    scales={3: ("tausend",), 6: ("millionen|million",), 9: ("milliarden|milliarde",)},
    units=units("stunden|stunde|uhr", "kilometer|kilometern", "kilogramm|kilo", "zentimeter|zentimetern"),
    signs={
        "%": ("prozent",),
        "&": ("und", "and"),
        "+": ("plus",),
        "=": ("gleich", "ist gleich", "ist"),
        "@": ("at", "ät", "klammeraffe"),
        "#": ("raute", "nummer", "hashtag"),
        "°": ("grad",),
    },
    money={"€": ("euro|euros",), "$": ("dollar|dollars",), "£": ("pfund",)},
    cents=("cent|cents",),
    between={
        ",": ("komma",),
        ".": ("punkt",),
        "-": ("strich", "bindestrich", "minus", "bis"),
        "/": ("schrägstrich", "durch", "von"),
        ":": ("zu",),
    },
)
