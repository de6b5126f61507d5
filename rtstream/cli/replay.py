"""``rtstream replay``: the options; the work is done in ``rtstream.cli.playback``."""

from __future__ import annotations

from dataclasses import replace

import click

from rtstream.cli.options import RecognizerOptions, phrase_option, recognizer_options
from rtstream.cli.translating import TranslationOptions, translation_options
from rtstream.formats.writer import FORMATS, Format


@click.command(
    epilog="""\b
Examples:
  rtstream replay talk.flac
  rtstream replay --format srt talk.mp3 > talk.srt
  rtstream replay --format jsonl --words interviews/*.wav
  rtstream replay --phrase Grafana --phrase 'Wren Hollow=2' standup.flac
  rtstream replay --translate es,fr --format vtt talk.mp3 > talk.vtt
  ffmpeg -v error -i film.mkv -f wav - | rtstream replay -
  arecord -t raw -f S16_LE -r 16000 | rtstream replay --rate 16000 -
"""
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="What is written to standard output.",
)
@click.option("--words", is_flag=True, help="Times and confidence of every word (text, jsonl); times in cues (vtt).")
@click.option("--no-partials", is_flag=True, help="Finals alone.")
@click.option("--realtime", is_flag=True, help="At the speed of a microphone, not as fast as possible.")
@click.option(
    "--rate",
    type=click.IntRange(1),
    metavar="HZ",
    help="Every FILE is raw 16-bit little-endian mono PCM of this rate.",
)
@phrase_option
@translation_options
@recognizer_options
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[str, ...],
    format_: Format,
    *,
    words: bool,
    no_partials: bool,
    realtime: bool,
    rate: int | None,
    phrases: tuple[str, ...],
    options: RecognizerOptions,
    translation: TranslationOptions,
) -> None:
    """Transcribe audio files: partials while they are read, the finals below one another.

    FILE has any format that libsndfile reads, any rate and any number of channels, and may hold several recordings one
    behind the other; "-" is standard input: such a file, or a pipe that carries WAV or, with --rate, raw PCM. Others
    (m4a, WebM, WMA) go through ffmpeg, as below. On a terminal the words appear on one line as they are recognised.
    What cannot be read of a file is one line on standard error, behind the text of what can; then, or where there is no
    speech in it, the exit code is 1, and the others are transcribed all the same. With --translate each final is
    followed by its translations; captions have them below the original, and jsonl those of partials too.
    """
    if format_ in {"srt", "vtt"} and len(files) > 1:
        raise click.UsageError(f"{format_} captions one recording: give one FILE at a time")
    from rtstream.cli.playback import Replay  # noqa: PLC0415 - torch, which --help does without

    replay = Replay(
        replace(options, phrases=phrases),
        format_,
        translation=translation,
        words=words,
        partials=not no_partials,
        realtime=realtime,
        raw_rate=rate,
    )
    if not replay.run(files):
        ctx.exit(1)
