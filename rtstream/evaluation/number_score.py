"""What is written of spoken numbers in each form: ``python -m rtstream.evaluation.number_score models/base``.

espeak-ng and flite (Debian's packages) say sixty of them; a table of what is written comes out, and how often that is
right. The voices are machines': a person who says the same is understood better, or worse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from rtstream.engine.open import load_bundle
from rtstream.evaluation.evaluate import recognize
from rtstream.recognizer.number_forms import NUMBER_FORMS
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.recognizer.written_numbers import write_numbers
from rtstream.training.corpus.voices import FLITE, Voice

VOICES = (FLITE["rms"], Voice("espeak-ng", "en-us", 50))
SAID = {
    "numbers": {
        "We counted twelve of them.": "We counted 12 of them.",
        "There are twenty one people here.": "There are 21 people here.",
        "The tank holds seventy five gallons.": "The tank holds 75 gallons.",
        "It is ninety nine miles away.": "It is 99 miles away.",
        "Turn to page one hundred and five.": "Turn to page 105.",
        "They sold two hundred thirty four tickets.": "They sold 234 tickets.",
        "The bridge has one thousand two hundred steps.": "The bridge has 1200 steps.",
        "About twelve thousand people live here.": "About 12,000 people live here.",
        "Three million people saw it.": "3 million people saw it.",
        "The population is one million two hundred thirty four thousand five hundred sixty seven.": (
            "The population is 1,234,567."
        ),
    },
    "digits": {
        "My number is eight zero zero, five five five, zero one nine nine.": "My number is 8005550199.",
        "Call five five five, oh one two three.": "Call 5550123.",
        "The code is four one one one.": "The code is 4111.",
        "The pin is seven three nine two.": "The pin is 7392.",
        "Dial nine one one.": "Dial 911.",
        "The card ends in six six zero eight.": "The card ends in 6608.",
        "It is extension two four seven.": "It is extension 247.",
        "We are in room three oh five.": "We are in room 305.",
        "Flight eight six two is delayed.": "Flight 862 is delayed.",
        "The account number is nine eight one four five two.": "The account number is 981452.",
    },
    "dates": {
        "We met on March third.": "We met on March 3.",
        "The meeting is on June twenty first.": "The meeting is on June 21.",
        "She was born on October thirtieth, nineteen sixty one.": "She was born on October 30, 1961.",
        "It happened on July twentieth, nineteen sixty nine.": "It happened on July 20, 1969.",
        "Remind me on the twelfth of May.": "Remind me on the 12th of May.",
        "The war ended in nineteen forty five.": "The war ended in 1945.",
        "It was built in eighteen seventy seven.": "It was built in 1877.",
        "She moved there in two thousand five.": "She moved there in 2005.",
        "The contract ends on December thirty first.": "The contract ends on December 31.",
        "It was popular in the nineteen eighties.": "It was popular in the 1980s.",
    },
    "times": {
        "Wake me up at seven thirty.": "Wake me up at 7:30.",
        "The train leaves at six fifteen.": "The train leaves at 6:15.",
        "It is half past four.": "It is 4:30.",
        "It is a quarter to nine.": "It is 8:45.",
        "We start at eight o'clock.": "We start at 8:00.",
        "Dinner is at seven p.m.": "Dinner is at 7 p.m.",
        "He called at ten oh five.": "He called at 10:05.",
        "The shop closes at five forty five.": "The shop closes at 5:45.",
        "Set a timer for twenty five minutes.": "Set a timer for 25 minutes.",
        "The film takes two hours and ten minutes.": "The film takes 2 hours and 10 minutes.",
    },
    "sums": {
        "It costs two hundred fifty dollars.": "It costs $250.",
        "That will be five dollars and twenty cents.": "That will be $5.20.",
        "They paid three million dollars for it.": "They paid $3 million for it.",
        "I have forty euros left.": "I have €40 left.",
        "Prices rose by three point five percent.": "Prices rose by 3.5%.",
        "Only fifty percent of them came.": "Only 50% of them came.",
        "It weighs two point seven five pounds.": "It weighs 2.75 pounds.",
        "The house was sold for one point two million dollars.": "The house was sold for $1.2 million.",
        "The ticket was nineteen dollars and ninety nine cents.": "The ticket was $19.99.",
        "It was minus twelve degrees.": "It was -12 degrees.",
    },
    "ordinals": {
        "He lives on the twenty first floor.": "He lives on the 21st floor.",
        "It was her thirtieth birthday.": "It was her 30th birthday.",
        "Take the eleventh exit.": "Take the 11th exit.",
        "He finished in twelfth place.": "He finished in 12th place.",
        "This is the forty second street.": "This is the 42nd street.",
        "It was the one hundredth day.": "It was the 100th day.",
        "She was first in her class.": "She was first in her class.",
        "This is the third time he has called.": "This is the third time he has called.",
        "They celebrated their fiftieth anniversary.": "They celebrated their 50th anniversary.",
        "The nineteenth century was long.": "The 19th century was long.",
    },
}
"""What is said, by kind, and what is to be written in digits."""


@dataclass(frozen=True, slots=True)
class Row:
    """One sentence by one voice: what is right in digits, and what is heard in each form."""

    kind: str
    voice: str
    said: str
    digits: str
    written: dict[str, str]

    def is_right(self, form: str) -> bool:
        """Whether the numbers are written so, whatever else is; in words: without figures, and read back."""
        if form == "digits":
            return numbers(self.written[form]) == numbers(self.digits)
        words = self.written[form]
        return not re.search(r"\d", words) and numbers(write_numbers(words, "digits")) == numbers(self.digits)


def numbers(text: str) -> list[str]:
    """The words of a text that have figures, without marks behind them."""
    return [word.strip(".,;:!?") for word in text.split() if re.search(r"\d", word)]


def forms(written: str) -> dict[str, str]:
    """A text in each form."""
    return {form: write_numbers(written, form) for form in NUMBER_FORMS}


def measure(recognizer: Recognizer, voices: tuple[Voice, ...] = VOICES) -> list[Row]:
    """All sentences by each voice. Raises click.ClickException where a voice does not work."""
    rows = []
    with TemporaryDirectory() as temporary:
        for kind, sentences in SAID.items():
            for said, digits in sentences.items():
                for voice in voices:
                    heard = recognize(recognizer, voice.say(said, Path(temporary))).text
                    rows.append(Row(kind, voice.program, said, digits, forms(heard)))
    return rows


def table(rows: list[Row]) -> str:
    """How many are right by kind and voice, then what is written of each, in Markdown."""
    voices = sorted({row.voice for row in rows})
    lines = [f"| | {' | '.join(f'{voice}: digits | words' for voice in voices)} |", f"|---|{'---|---|' * len(voices)}"]
    for kind in dict.fromkeys(row.kind for row in rows):
        cells = []
        for voice in voices:
            its = [row for row in rows if (row.kind, row.voice) == (kind, voice)]
            cells += [f"{sum(row.is_right(form) for row in its)} of {len(its)}" for form in ("digits", "words")]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    lines += ["", "| said | by | as spoken | digits | words |", "|---|---|---|---|---|"]
    for row in rows:
        cells = [
            row.written[form] + ("" if form == "as spoken" or row.is_right(form) else " ✗") for form in NUMBER_FORMS
        ]
        lines.append(f"| {row.said} | {row.voice} | {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--wrong", is_flag=True, help="List only what is wrong.")
def main(bundle: Path, *, wrong: bool) -> None:
    """Have machines say numbers, and show what BUNDLE's model makes of them in each form."""
    config = RecognizerConfig(partials="none")
    rows = measure(Recognizer(load_bundle(bundle), config))
    shown = table(rows)
    if wrong:
        left = table([row for row in rows if not (row.is_right("digits") and row.is_right("words"))])
        shown = shown.partition("\n\n")[0] + "\n\n" + left.partition("\n\n")[2]
    click.echo(shown)


if __name__ == "__main__":
    main()
