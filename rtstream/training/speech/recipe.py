"""Recipes of recognition networks: ``task = "speech"``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rtstream.training.core.schedule import Positive, Precision, Schedule, Share, Strict
from rtstream.training.corpus.augment import Augment


class Encoder(Strict):
    """Shape of the student's encoder; sizes not named here are the start's."""

    share: int = Field(1, ge=1, description="K: adjacent layers that share their full-rank matrices")
    rank: int = Field(0, ge=0, description="R of the private low-rank part")
    diagonal: bool = False
    full_rank: bool = True
    grow: int = Field(1, ge=1, description="copies of each layer of the start; with share = grow nothing is lost")
    whole: bool = Field(
        default=False, description="full context keeps the teacher's weights; chunks learn their own parts beside them"
    )
    whole_rank: int = Field(
        0, ge=0, description="R of full context's private part, which tells layers that share apart; chunks' add to it"
    )
    one_pass: bool = Field(
        default=False, description="of a start of two passes the chunks' alone: finals are made of their states too"
    )
    left_context: int = Field(512, ge=0, description="encoder frames (20 ms) before its chunk that a frame sees")


class Decoder(Strict):
    """Shape of the student's decoder."""

    whole: bool = Field(
        default=False,
        description="the teacher's, over tokens cut anew; a start brings the encoder and its heads alone",
    )
    layers: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (),
        description="of the start's decoder that are kept: they learn what the start's does; none: all are kept, and "
        "the teacher's decoder is what is imitated",
    )
    guided: bool = Field(
        default=False,
        description="that of another model over the same tokens (--guide) is imitated; the table of tokens stays",
    )


class Loss(Strict):
    """Weights of the losses; those of distance and of what is imitated count for clips that the teacher was given."""

    distance: float = Field(1.0, ge=0, description="to the teacher's states")
    ctc: float = Field(0.3, ge=0)
    decoder: float = Field(1.0, ge=0, description="cross-entropy of the text")
    imitation: float = Field(0.0, ge=0, description="divergence from the decoder that is imitated")
    voice: float = Field(0.0, ge=0, description="cross-entropy of who speaks, where a head of the model's own says it")
    hidden: float = Field(0.0, ge=0, description="distance from its last layer's output")
    attention: float = Field(0.0, ge=0, description="divergence from where it looks")
    label_smoothing: Share = 0.05
    prefixes: Share = Field(0.0, description="share of clips of which the decoder sees and learns a beginning only")
    prefixes_from: int = Field(0, ge=0, description="first step of that: CTC must find the words before")


class Optimizer(Schedule):
    """The schedule, the size of a batch, and the full rates of the three parts."""

    seconds: float = Field(60.0, gt=0, description="audio in a batch, of each process")
    encoder_lr: float = Field(2e-4, ge=0)
    shared_lr: float = Field(
        0.0,
        ge=0,
        description="of the matrices that layers share, where full context has private parts; 0: as they began",
    )
    decoder_lr: float = Field(5e-5, ge=0)
    ctc_lr: float = Field(1e-3, ge=0)


class Vocabulary(Strict):
    """Which tokens of the teacher's table are kept: the commonest of these texts, normalized and as written.

    Besides, all that the commonest words of some languages are made of.
    """

    texts: tuple[str, ...] = (
        "english-spoken.train.txt.gz",
        "english-written.train.txt.gz",
        "english-commonvoice.txt.gz",
    )
    lower: int = Field(8000, ge=0)
    cased: int = Field(26000, ge=0)
    words: int = Field(0, ge=0, description="of each language")
    languages: tuple[str, ...] = Field((), description="whose words; by default the recipe's")


class Recipe(Strict):
    """A whole run of the recognition network."""

    task: Literal["speech"] = "speech"
    name: str = Field(pattern=r"^[\w.-]+$", description="also of the run's directory")
    seed: int = Field(0, ge=0)
    encoder: Encoder = Encoder()
    decoder: Decoder = Decoder()
    vocabulary: Vocabulary = Vocabulary()
    loss: Loss = Loss()
    optimizer: Optimizer
    augment: Augment = Augment()
    spec_augment: bool = True
    chunks: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0, 16, 32, 32, 64), min_length=1, description="encoder frames a chunk, drawn a batch; 0: full context"
    )
    heads_first: int = Field(
        0, ge=0, description="first steps in which CTC and who speaks alone are learnt, over the teacher's kept states"
    )
    encoder_from: int = Field(
        0, ge=0, description="first step in which the encoder learns: a decoder that lost layers first"
    )
    encoder_until: int = Field(0, ge=0, description="first step in which it learns no more; 0: it learns to the end")
    fade_steps: int = Field(0, ge=0, description="steps over which what sharing leaves out fades to nothing")
    rounded: bool = Field(
        default=False,
        description="the start's matrices stay as its bundle holds them, and what it holds in more bits, biases, "
        "norms, chunks' own parts and CTC, learns to make up for their rounding",
    )
    lattice: bool = Field(
        default=False,
        description="the start's matrices learn to be a bundle's of few bits (--lattice); its decoder is imitated",
    )
    taught: float = Field(0.0, ge=0, description="hours of audio that the teacher is given; 0: no teacher, all clips")
    untaught: tuple[str, ...] = Field(
        (), description="sources of what the teacher does not know: learnt from texts alone"
    )
    mix: float = Field(
        0.0, ge=0, le=1, description="the teacher's share in the encoder that a start brings; its decoder then is whole"
    )
    max_clip: float = Field(20.0, gt=0, description="seconds; longer clips are left out")
    languages: tuple[str, ...] = Field(
        ("en",), min_length=1, description="whose texts are learnt; clips of others are learnt from without theirs"
    )
    sources: dict[str, Positive] = Field(
        min_length=1,
        description="shard name to its share of the audio; SHARD:KIND: its clips of a language or label, "
        "SHARD:joined: strings of its single digits, by one speaker each",
    )
    noise: str = "noise"
    precision: Precision = "bfloat16"
