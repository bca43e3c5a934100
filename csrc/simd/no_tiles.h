// The ISAs without tiles of sums.
#pragma once

PHIGGUF_BEGIN_ISA

constexpr bool kHasTiles = false;
constexpr int kTileTokens = 16;  // that tiles would have

template <int kBytes, int kParts>
class SumTiles;
template <int kRows>
class PlaneTiles;

PHIGGUF_END_ISA
