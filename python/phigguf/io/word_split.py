"""The expressions that split text into words before byte-level BPE, with GGUF's names for them.

GPT-2's is built into the `tokenizers` library. Phi-4 uses that of cl100k_base and Phi-4-mini that
of o200k_base, both published with tiktoken.
"""

from __future__ import annotations

_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_BEFORE_WORD = r"[^\r\n\p{L}\p{N}]?"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"

CL100K = (
    rf"{_CONTRACTION}|{_BEFORE_WORD}\p{{L}}+|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}"
)
O200K = (
    rf"{_BEFORE_WORD}{_UPPER}*{_LOWER}+{_CONTRACTION}?"
    rf"|{_BEFORE_WORD}{_UPPER}+{_LOWER}*{_CONTRACTION}?"
    rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
)

# None: GPT-2's own expression.
EXPRESSIONS: dict[str, str | None] = {
    "gpt-2": None,
    "phi-2": None,
    "dbrx": CL100K,
    "gpt-4o": O200K,
}
