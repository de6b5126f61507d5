"""A small tokenizer with real merges."""

from rtstream.bundle.tokenizer import Tokenizer, byte_characters

PAIRS = (
    "Ġ t, h e, Ġt he, Ġ a, n d, Ġa nd, i n, in g, o u, e r, ou r, Ġthe r, Ã ©, Ġc af, c a, ca f, Ġ caf, caf Ã©, Ġ ing"
)
SPECIAL = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|transcribe|>",
    "<|nospeech|>",
    "<|notimestamps|>",
    "<|0.00|>",
)


def make_tokenizer(special=SPECIAL) -> Tokenizer:
    """All bytes, some merges as GPT-2 would have learnt them, special tokens."""
    singles = sorted(byte_characters().values())
    merges, known = [], set(singles)
    for pair in PAIRS.split(", "):
        left, right = pair.split(" ")
        if {left, right} <= known and left + right not in known:
            merges.append(pair)
            known.add(left + right)
    pieces = [*singles, *(pair.replace(" ", "") for pair in merges)]
    ids = {name: len(pieces) + index for index, name in enumerate(special)}
    return Tokenizer((*pieces, *special), tuple(merges), ids)
