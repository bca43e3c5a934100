"""Texts that are hard for tokenizers, from a fixed seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

# One range of each plane that has characters, and those that encoders trip over.
CODE_POINTS = (
    (0x00, 0x20),
    (0x20, 0x7F),
    (0x7F, 0x250),
    (0x300, 0x370),  # combining marks
    (0x370, 0x700),
    (0x900, 0xE00),
    (0x2000, 0x2070),  # spaces, joiners and direction marks
    (0x2580, 0x25A0),  # with U+2581, which SentencePiece takes for a space
    (0x3040, 0xA000),
    (0xAC00, 0xD7A4),
    (0xE000, 0xE100),  # private use
    (0xFE00, 0x10000),  # variation selectors, byte order mark, U+FFFD, noncharacters
    (0x10000, 0x10400),
    (0x1F300, 0x1FB00),
    (0x20000, 0x2A6E0),
    (0x30000, 0x31350),
    (0xE0000, 0xE01F0),
    (0x100000, 0x110000),
)

# Every plane, assigned or not; the first is in two, since surrogates are no characters.
PLANES = (
    (0x0000, 0xD800),
    (0xE000, 0x10000),
    *((plane, plane + 0x10000) for plane in range(0x10000, 0x110000, 0x10000)),
)

EDGES = (
    "",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    "\r\n",
    " \n ",
    "a",
    " a",
    "a ",
    "  a",
    "\u2581",
    "\u2581a",
    " \u2581 ",
    "<0x41>",
    "<0xE2><0x82>",
    "<s>",
    "</s>",
    "<|user|>",
    "<|user|> \n x",
    "<|user|><|user|>",
    "x<|end|>",
    "<|end|",
    "|><|",
    "\ufeff",
    "\ufffd",
    "\x00",
    "e\u0301",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
)


def texts(count: int, pieces: Sequence[str], added: Sequence[str], seed: int) -> Iterator[str]:
    """Yield the edge cases, then `count` texts made of what a vocabulary has and has not.

    Parameters
    ----------
    count
        How many random texts.
    pieces, added
        Texts of ordinary and of added tokens.
    seed
        Of the random choices.
    """
    yield from EDGES
    rng = random.Random(seed)
    parts = (
        lambda: rng.choice(pieces),
        lambda: rng.choice(pieces),
        lambda: rng.choice(added),
        lambda: " " * rng.randint(1, rng.choice((20, 200))),
        lambda: rng.choice("\n\t \r") * rng.randint(1, 3),
        lambda: rng.choice("=-_.#a0") * rng.randint(1, 12),
        lambda: _letters(rng, rng.choice(CODE_POINTS)),
        lambda: _letters(rng, rng.choice(PLANES)),
        lambda: rng.choice(added)[: rng.randint(1, 4)],
    )
    for _ in range(count):
        yield "".join(rng.choice(parts)() for _ in range(rng.randint(1, 12)))


def _letters(rng: random.Random, code_points: tuple[int, int]) -> str:
    return "".join(chr(rng.randrange(*code_points)) for _ in range(rng.randint(1, 4)))
