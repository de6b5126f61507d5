"""Numbers in a text in one form: digits, words, or as the model writes them. docs/numbers.md has the rules."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rtstream.recognizer import numbers_elsewhere
from rtstream.recognizer.number_forms import Span
from rtstream.recognizer.numbers import CURRENCIES as SIGNS
from rtstream.recognizer.numbers import cardinal, digits, ordinal, say_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rtstream.events import Final, Word
    from rtstream.recognizer.number_forms import NumberForm

UNITS = {cardinal(number): number for number in range(1, 10)}
SMALL = {cardinal(number): number for number in range(1, 20)}
TENS = {cardinal(number): number for number in range(20, 100, 10)}
DECADES = {f"{name[:-1]}ies": number for name, number in TENS.items()}
ZEROS = ("zero", "oh", "o")
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
MULTIPLES = {"double": 2, "triple": 3}
ORDINALS = {ordinal(number): number for number in (*range(1, 20), *range(20, 100, 10))}
HUNDREDTHS = {"hundredth": 100, **{f"{name}th": scale for name, scale in SCALES.items()}}
NUMERALS = {*SMALL, *TENS, *SCALES, *ORDINALS, "zero", "hundred"}
MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
CURRENCIES = {"dollar": "$", "dollars": "$", "euro": "€", "euros": "€"}
"""Pounds may be weight."""
HALVES = ("am", "pm")
BEFORE_TIMES = ("at", "until", "till", "by", "around", "before", "after", "since", "it's")
PARTS = ("half", "halves", "quarter", "quarters", *(f"{each}s" for each in ORDINALS))
CENTURIES = ("15", "16", "17", "18", "19", "20")
GROUPED = 10_000
"""Counts from here on have commas; below, years would have them too."""
LIST = 4
"""Digits from which on those that are parted by marks are one number."""
TOKEN = re.compile(r"(?P<before>[^\w$€£+-]*)(?P<core>.*?)(?P<after>[^\w%°$€£]*)", re.DOTALL)
DICTATED = re.compile(r"\d(?:-\d){2,}|(?=(?:\D*\d){7})\d+(?:-\d+)+")
"""Digits with hyphens between that are one number: 4-1-1-1, 555-0199."""
MARKS = ".,;:!?"
DECIMAL = re.compile(r"\d[\d,]*\.\d+")
COUNT = re.compile(r"\d{1,3}(?:,\d{3})+")


@dataclass(frozen=True, slots=True)
class _Token:
    """A word: its marks ``before``, its ``core`` in lower case, its marks ``after``, its ``place`` among the words."""

    before: str
    core: str
    after: str
    place: int
    written: str


def write_numbers(text: str, form: NumberForm, language: str = "en") -> str:
    """A text with its numbers in a form; the same again for what comes out of it. ``language``: ISO 639-1."""
    return " ".join(span.text for span in spans(text.split(), form, language))


def number_final(final: Final, form: NumberForm) -> Final:
    """A final with its numbers in a form, its words likewise: what several become one has the time of all."""
    if form == "as spoken" or not final.text:
        return final
    found = spans(final.text.split(), form, final.language or "en")
    words: tuple[Word, ...] = ()
    if final.words:
        words = tuple(word for span in found for word in _words_of(span, final.words))
    return replace(final, text=" ".join(span.text for span in found), words=words)


def _words_of(span: Span, words: Sequence[Word]) -> Iterator[Word]:
    """The words of a span; where one became several they share its time."""
    first, last = words[span.first], words[span.last]
    names = span.text.split()
    sure = min(word.confidence for word in words[span.first : span.last + 1])
    length = last.end - first.start
    for index, name in enumerate(names):
        start, end = (first.start + length * at // len(names) for at in (index, index + 1))
        yield replace(first, text=name, start=start, end=end, confidence=sure)


def spans(words: Sequence[str], form: NumberForm, language: str = "en") -> list[Span]:
    """Words as they are written in a form, in order; each of them is part of one span."""
    if language != "en":
        return numbers_elsewhere.spans(words, form, language)
    if form == "digits":
        return list(_Digits(words).spans())
    if form == "words":
        return list(_spell(words))
    return [Span(word, place, place) for place, word in enumerate(words)]


def _spell(words: Sequence[str]) -> Iterator[Span]:
    """Each word with its numbers in words."""
    place = 0
    while place < len(words):
        said, last = _in_words(words[place]), place
        scale = words[place + 1] if place + 1 < len(words) else ""
        amount = re.fullmatch(r"(\W*)([$€£])(\d[\d.,]*)", words[place])
        day = re.fullmatch(r"([1-9]|[12]\d|3[01])(\W*)", words[place])
        if amount is not None and scale.lower().rstrip(MARKS) in SCALES:  # $1.5 million
            bare = scale.rstrip(MARKS)
            number = f"{amount[1]}{_in_words(amount[3])} {bare}"
            said, last = f"{number} {SIGNS[amount[2]]}{scale[len(bare) :]}", place + 1
        elif words[place].lower() == "per" and scale.lower().rstrip(MARKS) == "cent" and place:
            said, last = f"per{scale}", place + 1
        elif day is not None and place and _is_month(words[place - 1], first=place == 1):
            said = f"{ordinal(int(day[1]))}{day[2]}"
        if place == 0 and said != words[0] and not words[0][:1].isalpha():
            said = said[0].upper() + said[1:]
        yield Span(said, place, last)
        place = last + 1


def _is_month(word: str, *, first: bool) -> bool:
    """Whether a word, the ``first`` of a text, is the name of a month: "may" and "march" are verbs, too."""
    return word.lower() in MONTHS and not (word.lower() in {"may", "march"} and (first or word.islower()))


def _in_words(word: str) -> str:
    if not any(c.isdecimal() for c in word):
        return " ".join(_numerals(word)) or word
    decade = re.fullmatch(r"(.*?\d*[2-9]0)'?s(\W*)", word)
    if decade is not None:
        return f"{_in_words(decade[1])[:-1]}ies{decade[2]}"
    if DICTATED.fullmatch(word.strip(MARKS)):
        return re.sub(r"[\d-]*\d", _one_by_one, word)
    parts = re.split(r"(?<=\d)-(?=\d)", re.sub(r"^(\W*)-(?=\d)", r"\1minus ", word))
    long = r"(?<![\d.,:])(?:0\d+|\d{5,})(?![\d.,:]*\d)"
    return " ".join(say_numbers(re.sub(long, _one_by_one, part)) for part in parts)


def _one_by_one(match: re.Match[str]) -> str:
    return digits(match[0])


@dataclass(frozen=True, slots=True)
class _Number:
    """What was said as a number: its ``digits`` and the token ``end`` behind it.

    ``counted``: a count with a word such as thousand, or commas, which no other number continues.
    """

    digits: str
    end: int
    counted: bool = False

    @property
    def value(self) -> int:
        return int(self.digits)


class _Digits:
    """Writes the numbers of a text in digits.

    A rule takes the place of a token and gives what is written there and the token behind, or None.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.tokens = [token for place, word in enumerate(words) for token in _tokens(word, place)]

    def spans(self) -> Iterator[Span]:
        """All words, in order."""
        at = 0
        rules = (self._date, self._past, self._decade, self._ordinal, self._number)
        while at < len(self.tokens):
            first = self.tokens[at]
            written, end = next(filter(None, (rule(at) for rule in rules)), ("", at))
            whole = end == len(self.tokens) or (end > at and self.tokens[end].place > self.tokens[end - 1].place)
            if end > at and whole:
                last = self.tokens[end - 1]
                yield Span(first.before + written + last.after, first.place, last.place)
            else:
                yield Span(self.words[first.place], first.place, first.place)
                later = (n for n in range(at, len(self.tokens)) if self.tokens[n].place > first.place)
                end = next(later, len(self.tokens))
            at = end

    def _core(self, at: int, *, joined: bool = True) -> str:
        """A token's word; none past the end, nor, where it must be ``joined``, behind a mark."""
        if not 0 <= at < len(self.tokens) or (joined and at and self.tokens[at - 1].after):
            return ""
        return self.tokens[at].core

    # Numbers

    def _small(self, at: int) -> _Number | None:
        """Below a hundred."""
        word, following = self._core(at, joined=False), self._core(at + 1)
        if word in TENS:
            unit = UNITS.get(following, 0)
            return _Number(str(TENS[word] + unit), at + (2 if unit else 1))
        return _Number(str(SMALL[word]), at + 1) if word in SMALL else None

    def _hundreds(self, at: int) -> _Number | None:
        """Below a thousand, or so many hundreds: nineteen hundred."""
        word, following = self._core(at, joined=False), self._core(at + 1)
        number = self._small(at)
        if word == "a" and following in {"hundred", "thousand"} and self._core(at + 2) != "of":
            number = _Number("1", at + 1)
        elif word.isdecimal() and len(word) <= 3 and (following in SCALES or following == "hundred"):
            number = _Number(word, at + 1)
        if number is None or self._core(number.end) != "hundred":
            return number
        end = number.end + 1
        dictated = all(self._core(n) in UNITS or self._core(n) in ZEROS for n in (end, end + 1))
        linked = end + 1 if self._core(end) == "and" and self._core(end + 1) in {*SMALL, *TENS} else end
        rest = None if dictated or not self._core(linked) else self._small(linked)
        if rest is None:
            return _Number(str(100 * number.value), end)
        return _Number(str(100 * number.value + rest.value), rest.end)

    def _count(self, at: int) -> _Number | None:
        """A count with all its thousands and millions."""
        total, end, least = 0, at, 10**15
        while (part := self._hundreds(end)) is not None and (end == at or self._core(end)):
            scale = SCALES.get(self._core(part.end), 1)
            if scale >= least or part.value * scale >= least:
                break
            total, least = total + part.value * scale, scale
            end = part.end + (scale > 1)
            if scale == 1:
                break
            if self._core(end) == "and" and self._core(end + 1) in {*SMALL, *TENS}:
                end += 1
        return _Number(str(total), end, counted=least > 1 or total >= GROUPED) if end > at else None

    def _part(self, at: int, before: bool) -> _Number | None:  # noqa: FBT001 - whether another came before it
        """A count, or digits one by one."""
        word, following = self._core(at, joined=False), self._core(at + 1)
        if word in MULTIPLES and (following in UNITS or following in ZEROS or following.isdecimal()):
            digit = "0" if following in ZEROS else str(UNITS.get(following, following))
            return _Number(MULTIPLES[word] * digit, at + 2) if len(digit) == 1 else None
        if word == "zero" or (word in ZEROS and self._numeric(at + 1) and (before or self._numeric(at + 2))):
            return _Number("0", at + 1)
        if COUNT.fullmatch(word):
            return _Number(word.replace(",", ""), at + 1, counted=True)
        count = self._count(at)
        if count is None and word.isascii() and word.isdecimal():
            return _Number(word, at + 1)
        return count

    def _numeric(self, at: int) -> bool:
        word = self._core(at)
        return word in SMALL or word in TENS or word in ZEROS or word in MULTIPLES or word.isdecimal()

    def _parts(self, at: int) -> list[_Number]:
        """All numbers that stand in a row; those parted by marks only where they are digits of a long number."""
        row: list[_Number] = []
        sizes: list[int] = []  # of the rows between marks
        end = at
        while (part := self._part(end, before=bool(row))) is not None:
            marked = bool(row) and bool(self.tokens[end - 1].after)
            if marked and not (len(part.digits) == 1 and len(row[-1].digits) == 1):
                break
            if marked:
                sizes.append(len(row))
            row.append(part)
            end = part.end
            if part.counted:
                break
        if sizes and sum(len(part.digits) for part in row) < LIST:
            return row[: sizes[0]]
        return row

    def _number(self, at: int) -> tuple[str, int] | None:
        """A number with what belongs to it: a time, a sum, a share, a decimal."""
        if self._core(at, joined=False) == "minus" and self._numeric(at + 1):
            found = self._number(at + 1)
            return found and (f"-{found[0]}", found[1])
        row = self._parts(at)
        if not row:
            return self._decimal(at)
        if row[-1].counted and len(row) > 1:
            row = row[:-1]
        end = row[-1].end
        return self._time(at, row) or self._measure(row, end) or self._plain(at, row, end)

    def _decimal(self, at: int) -> tuple[str, int] | None:
        """A sum or a share whose number the model wrote itself: 1.2 million dollars."""
        if not DECIMAL.fullmatch(self._core(at, joined=False)):
            return None
        row = [_Number(self._core(at, joined=False), at + 1)]
        scale = self._core(at + 1) if self._core(at + 1) in SCALES else ""
        found = self._measure(row, at + 1 + bool(scale))
        if found is None or not scale:
            return found
        return f"{found[0]} {scale}", found[1]

    def _plain(self, at: int, row: list[_Number], end: int) -> tuple[str, int] | None:
        if len(row) == 1 and ((self._core(at, joined=False) == "one" and end == at + 1) or self._core(end) in PARTS):
            return None
        return self._joined(row), end

    def _joined(self, row: list[_Number]) -> str:
        """One number of all in a row."""
        number = row[0]
        if len(row) > 1 or not number.counted:
            return "".join(part.digits for part in row)
        for name, scale in reversed(SCALES.items()):
            if scale >= 10**6 and number.value >= scale and number.value % scale == 0:
                return f"{number.value // scale:,} {name}"
        return f"{number.value:,}" if number.value >= GROUPED else number.digits

    def _time(self, at: int, row: list[_Number]) -> tuple[str, int] | None:
        end = row[-1].end
        said = "".join(part.digits for part in row)
        half = self._core(end).replace(".", "")
        if self._core(end) == "o'clock" and len(row) == 1 and 1 <= row[0].value <= 12:
            return f"{row[0].value}:00", end + 1
        before = self._core(at - 1, joined=False) if at and not self.tokens[at - 1].after else ""
        asked = half in HALVES or before in BEFORE_TIMES or (before == "is" and self._core(at - 2) == "it")
        minutes = "".join(part.digits for part in row[1:]) if len(row) > 1 else said[-2:] if len(said) > 2 else ""
        hour = said[: len(said) - len(minutes)]
        # Figures alone may be an address or a year: "at 730 Main Street"; "by nineteen fifty" is one too.
        last = end == len(self.tokens) or bool(self.tokens[end - 1].after)
        bare = last and before in {"at", "is", "it's"} and len(said) in {3, 4}
        spoken = len(row) > 1 or half in HALVES or bare
        latest = 24 if before == "at" and len(row) > 1 else 12
        if asked and spoken and len(minutes) == 2 and minutes < "60" and hour and 1 <= int(hour) <= latest:
            return f"{int(hour)}:{minutes}", end
        return (str(row[0].value), end) if half in HALVES and len(row) == 1 and not row[0].counted else None

    def _measure(self, row: list[_Number], end: int) -> tuple[str, int] | None:
        """Decimals, shares and sums."""
        written, known = self._joined(row), False
        while self._core(end) == "point" and (decimals := self._decimals(end + 1)):
            written, end, known = f"{written}.{''.join(part.digits for part in decimals)}", decimals[-1].end, True
        if known and self._core(end) in SCALES:
            written, end = f"{written} {self._core(end)}", end + 1
        if self._core(end) == "percent":
            return f"{written}%", end + 1
        if self._core(end) == "per" and self._core(end + 1) == "cent":
            return f"{written}%", end + 2
        if self._core(end) in CURRENCIES:
            sign, end = CURRENCIES[self._core(end)], end + 1
            more = end + 1 if self._core(end) == "and" else end
            cents = self._small(more) if self._core(more) else None
            if "." not in written and cents is not None and self._core(cents.end) in {"cents", "cent"}:
                return f"{sign}{written}.{cents.value:02}", cents.end + 1
            return f"{sign}{written}", end
        return (written, end) if known else None

    def _decimals(self, at: int) -> list[_Number]:
        """Digits in a row, one by one or in pairs."""
        row: list[_Number] = []
        while word := self._core(at):
            digit = "0" if word in ZEROS else word if word.isdecimal() else ""
            part = _Number(digit, at + 1) if digit else self._small(at)
            if part is None:
                break
            row.append(part)
            at = part.end
        return row

    # Dates, times of day in words, ordinals

    def _past(self, at: int) -> tuple[str, int] | None:
        """Half past seven."""
        start = at + 1 if self._core(at, joined=False) == "a" else at
        minutes = {"half": 30, "quarter": 15}.get(self._core(start, joined=False))
        link = self._core(start + 1)
        hour = self._small(start + 2) if self._core(start + 2) else None
        if minutes is None or hour is None or not 1 <= hour.value <= 12 or link not in {"past", "to"}:
            return None
        if link == "past":
            return f"{hour.value}:{minutes}", hour.end
        return (f"{(hour.value - 2) % 12 + 1}:45", hour.end) if minutes == 15 else None

    def _decade(self, at: int) -> tuple[str, int] | None:
        """Nineteen nineties."""
        century, tens = self._small(at), DECADES.get(self._core(at + 1))
        if century is None or tens is None or century.end != at + 1 or not 10 <= century.value <= 20:
            return None
        return f"{century.value}{tens}s", at + 2

    def _ordinal_at(self, at: int) -> _Number | None:
        """A place in a row, in words or digits."""
        word = self._core(at, joined=False)
        written = re.fullmatch(r"(\d+)(?:st|nd|rd|th)", word)
        if written is not None:
            return _Number(written[1], at + 1)
        if word in ORDINALS:
            return _Number(str(ORDINALS[word]), at + 1)
        count = self._hundreds(at)
        if count is not None and self._core(count.end) in HUNDREDTHS and self._core(count.end + 1) != "of":
            return _Number(str(count.value * HUNDREDTHS[self._core(count.end)]), count.end + 1)
        count = self._count(at)
        if count is None or count.value % 10 or self._core(count.end) not in ORDINALS:
            return None
        rest = ORDINALS[self._core(count.end)]
        fits = rest < (100 if count.value % 100 == 0 else 10)
        return _Number(str(count.value + rest), count.end + 1) if fits else None

    def _ordinal(self, at: int) -> tuple[str, int] | None:
        found = self._ordinal_at(at)
        if found is None or found.value < 10:
            return None
        ending = {1: "st", 2: "nd", 3: "rd"}.get(found.value % 10, "th")
        return f"{found.value}{'th' if found.value % 100 in (11, 12, 13) else ending}", found.end

    def _date(self, at: int) -> tuple[str, int] | None:  # noqa: PLR0911 - a case after the other
        """March 3, and the year."""
        name = self.tokens[at]
        if name.core not in MONTHS or name.after:
            return None
        start = at + 2 if self._core(at + 1) == "the" else at + 1
        if not self._core(start):
            return None
        day, row = self._ordinal_at(start), self._parts(start)
        if day is None:
            verb = name.core in {"may", "march"} and name.written.islower()
            if verb or not row or row[0].counted or not 1 <= row[0].value <= 31:
                return None
            year = "".join(part.digits for part in row)
            if len(row) > 1 and len(year) == 4 and year[:2] in CENTURIES:
                return f"{name.written} {year}", row[-1].end
            day, row = row[0], row[1:]
        else:
            row = self._parts(day.end) if self._core(day.end, joined=False) else []
        if not 1 <= day.value <= 31:
            return None
        year = "".join(part.digits for part in row)
        if len(year) == 4 and year[0] in "12":
            return f"{name.written} {day.value}, {year}", row[-1].end
        return f"{name.written} {day.value}", day.end


def _numerals(core: str) -> list[str]:
    """The numbers that hyphens join in a word, or the words of half-past; none where it is another."""
    parts = core.split("-")
    known = all(part.lower().rstrip(MARKS) in NUMERALS for part in parts)
    past = len(parts) > 1 and parts[0].lower() in {"half", "quarter"} and parts[1].lower() in {"past", "to"}
    return parts if len(set(parts)) > 1 and (known or past) else []  # not fifty-fifty


def _tokens(word: str, place: int) -> Iterator[_Token]:
    """A word, or the numbers that hyphens join in it."""
    found = TOKEN.fullmatch(word)
    assert found is not None  # every string has a middle
    core = found["core"]
    if parts := _numerals(core):
        for index, part in enumerate(parts):
            before, after = found["before"] if not index else "", found["after"] if part is parts[-1] else ""
            yield _Token(before, part.lower(), after, place, part)
        return
    plain = core.replace("-", "") if DICTATED.fullmatch(core) else core.lower().replace("’", "'")
    if plain in {"a.m", "p.m"}:
        yield _Token(found["before"], plain, "", place, word)
        return
    yield _Token(found["before"], plain, found["after"], place, core)
