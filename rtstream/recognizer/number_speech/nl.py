"""Dutch."""

from rtstream.recognizer.number_converters import converter
from rtstream.recognizer.number_speech.speech import Speech, Ways, counting, hands, ordinals, units

_dutch = counting("nl")
_converter = converter("nl")


def _count(number: int) -> Ways:
    said = _dutch(number)
    linked = [way.replace("honderd", "honderd en ").replace("  ", " ").strip() for way in said if 100 < number < 113]
    parted = [way.replace("duizend", "duizend ").strip() for way in said]
    return tuple(dict.fromkeys((*said, *parted, *linked)))


def _whole(number: int) -> Ways:
    if not 1100 <= number < 2000:
        return ()
    year = _converter.to_year(number)
    return (year, year.replace(" ", ""), f"{_dutch(number // 100)[0]} {_dutch(number % 100)[0]}")


def _clock(hour: int, minute: int) -> Ways:
    said: list[str] = []
    for now, following, past, before in hands(_dutch, hour, minute):
        said += [f"{now} uur {past}", f"{past} over {now}", f"{before} voor {following}"]
        said += {
            0: [f"{now} uur", now],
            15: [f"kwart over {now}"],
            30: [f"half {following}"],
            45: [f"kwart voor {following}"],
        }.get(minute, [])
        said += [f"{_dutch(30 - minute)[0]} voor half {following}"] if 15 < minute < 30 else []
        said += [f"{_dutch(minute - 30)[0]} over half {following}"] if 30 < minute < 45 else []
    return tuple(said)


SPEECH = Speech(
    count=_count,
    ordinal=ordinals("nl"),
    whole=_whole,
    ordinal_mark=r"(?:ste|de|e)\b",
    clock=_clock,
    hour=("uur",),
    hour_words=frozenset({"uur", "u", "h"}),
    hundred=("honderd",),
    scales={3: ("duizend",), 6: ("miljoen",), 9: ("miljard",)},
    units=units("uur|uren", "kilometer", "kilogram|kilo", "centimeter"),
    signs={
        "%": ("procent",),
        "&": ("en", "and"),
        "+": ("plus",),
        "=": ("is", "is gelijk aan"),
        "@": ("apenstaartje", "at"),
        "#": ("hekje", "nummer", "hashtag"),
        "°": ("graden|graad",),
    },
    money={"€": ("euro|euros",), "$": ("dollar|dollars",), "£": ("pond",)},
    cents=("cent",),
    between={
        ",": ("komma", "euro"),
        ".": ("punt", "komma"),
        "-": ("streepje", "min", "tot"),
        "/": ("slash", "schuine streep", "van"),
        ":": ("op",),
    },
)
