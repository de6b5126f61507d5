"""Int8 matrices in fewer bytes: few whole numbers a channel, and those coded by how often each occurs.

A channel's weights are rounded to multiples of one step, set by their root mean square and not by the largest. Numbers
near 0 are then by far the most frequent, and a Huffman code (deflate, RFC 1951, without its repeated strings) makes use
of it: normal weights take log2(sigma / step) + log2(sqrt(2 pi e)) bits each, a quarter of a bit more than any code of
the same squared error must (Gish and Pierce 1968). Fields of fixed width with a scale for each 32 weights, as in
llama.cpp's formats, took one bit more for the same error in our matrices.

What comes back are the int8 numbers and scales that the engine computes with: nothing is rounded again at loading.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
from numpy.typing import NDArray

Int8 = NDArray[np.int8]
Bytes = NDArray[np.uint8]

BITS = 5.5
"""How many bits a weight takes where nobody says otherwise. No error rate of ours tells it from 8."""
LOSSLESS_BITS = 8.0
"""From here on int8 numbers stay what they are."""
MEMORY_LEVEL = 9  # of zlib: a code for each 32 Ki numbers


def step_of(bits: float) -> float:
    """The step, in root mean squares of a channel, with which normal weights take ``bits`` each; 0: as int8 has it."""
    return 0.0 if bits >= LOSSLESS_BITS else math.sqrt(2 * math.pi * math.e) / 2**bits


def deflate(numbers: Int8) -> Bytes:
    """Int8 numbers of any shape, row by row, as a zlib stream: uint8 (bytes,)."""
    coder = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, MEMORY_LEVEL, zlib.Z_HUFFMAN_ONLY)
    data = coder.compress(np.ascontiguousarray(numbers).data) + coder.flush()
    return np.frombuffer(data, np.uint8)


def inflate(stream: Bytes, size: int) -> Int8:
    """The int8 numbers (size,) that ``deflate`` was given. Raises ValueError where it was not given so many."""
    decoder = zlib.decompressobj()
    try:
        data = decoder.decompress(np.ascontiguousarray(stream).data, size + 1)  # the one more shows that there is more
    except zlib.error as error:
        raise ValueError(f"is no zlib stream ({error})") from error
    if len(data) != size or not decoder.eof or decoder.unused_data:
        raise ValueError(f"does not inflate to {size} numbers")
    return np.frombuffer(bytearray(data), np.int8)  # which may be written to, as torch wants it
