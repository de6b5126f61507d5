"""Russian: its numbers have cases and genders, and its years and days are places in a row."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from rtstream.recognizer.number_converters import converter
from rtstream.recognizer.number_speech.speech import Speech, Ways

_converter: Any = converter("ru")
_CASES = "ngdaip"
_GENDERS = "mfn"


def _merged(ways: Iterable[str]) -> Ways:
    """Ways of the same number of words as one of all their words' forms."""
    rows = [way.split() for way in dict.fromkeys(ways)]
    same = [row for row in rows if len(row) == len(rows[0])]
    return (" ".join("|".join(dict.fromkeys("|".join(forms).split("|"))) for forms in zip(*same, strict=True)),)


def _said(say: Callable[..., str], number: int) -> Ways:
    try:
        return _merged(say(number, case=case, gender=gender, animate=False) for case in _CASES for gender in _GENDERS)
    except Exception:  # noqa: BLE001 - num2words has limits, and faults, of its own
        return ()


@lru_cache(maxsize=256)
def _count(number: int) -> Ways:
    said = _said(_converter.to_cardinal, number)
    first = len(str(number)) % 3 == 1 and str(number)[0] == "1" and number >= 1000
    return (*said, *(way.partition(" ")[2] for way in said if first))  # a thousand is not counted as one


@lru_cache(maxsize=256)
def _ordinal(number: int) -> Ways:
    said = _said(_converter.to_ordinal, number)
    plural = _merged(_converter.to_ordinal(number, case=case, plural=True) for case in _CASES) if said else ()
    return _merged((*said, *plural)) if said else ()


def _whole(number: int) -> Ways:
    return _ordinal(number) if 0 < number <= 31 or 1000 <= number <= 2100 else ()


def _clock(hour: int, minute: int) -> Ways:
    said: list[str] = []
    for h in {hour, (hour - 1) % 12 + 1}:
        now, following = _count(h)[0], _count(h % 12 + 1)[0]
        past, before, next_hour = _count(minute)[0], _count((60 - minute) % 60)[0], _ordinal(h % 12 + 1)[0]
        said += [
            f"{now} {past}",
            f"{now} часов|часа|час {past} минут|минуты|минута|",
            f"{past} минут|минуты|минута {next_hour}",
        ]
        said += [f"без {before} минут|минуты| {following}"]
        said += {
            0: [now, f"{now} часов|часа|час", f"{now} ноль ноль", *(["час"] if h == 1 else [])],
            15: [f"четверть {next_hour}"],
            30: [
                f"половина|половину|половине {next_hour}",
                *(f"пол{form}" for form in next_hour.split("|") if form.endswith("го")),
            ],
            45: [f"без четверти {following}"],
        }.get(minute, [])
    return tuple(said)


SPEECH = Speech(
    count=_count,
    ordinal=_ordinal,
    whole=_whole,
    ordinal_mark=r"-?(?:ый|ий|ой|ая|ое|ые|го|му|ми|й|я|е|м|ю|х)\b",
    clock=_clock,
    hour=("часов|часа|час",),
    hour_words=frozenset({"ч", "часов", "часа", "час"}),
    scales={3: ("тысяч|тысячи|тысяча",), 6: ("миллионов|миллиона|миллион",), 9: ("миллиардов|миллиарда|миллиард",)},
    units={
        "ч": ("часов|часа|час",),
        "км": ("километров|километра|километр|километрах",),
        "кг": ("килограммов|килограмма|килограмм|кило",),
        "см": ("сантиметров|сантиметра|сантиметр",),
    },
    signs={
        "%": ("процентов|процента|процент|процентах|процентам",),
        "&": ("и", "энд"),
        "+": ("плюс",),
        "=": ("равно", "это"),
        "@": ("собака", "эт"),
        "#": ("решётка", "номер", "хештег"),
        "№": ("номер",),
        "°": ("градусов|градуса|градус",),
    },
    money={
        "€": ("евро",),
        "$": ("долларов|доллара|доллар",),
        "£": ("фунтов|фунта|фунт",),
        "₽": ("рублей|рубля|рубль",),
    },
    cents=("центов|цента|цент|копеек|копейки|копейка",),
    between={
        ",": ("запятая", "и", "целых|целая"),
        ".": ("точка", "целых|целая"),
        "-": ("тире", "дефис", "минус", "до"),
        "/": ("дробь", "из", "на"),
        ":": ("к", "на"),
    },
)
