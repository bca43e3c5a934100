// AVX-512 VNNI, and tiles of 16 by 16 sums of byte products: AMX-INT8.
#pragma once

#include "simd/avx512vnni.h"

PHIGGUF_BEGIN_ISA

constexpr bool kHasTiles = true;
constexpr int kTileTokens = 16;

// The tile registers, which are this thread's while an object lives.
class TileRegisters {
 public:
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;

 protected:
  struct alignas(64) Shapes {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};

    void set(int tile, int n_rows, size_t bytes) {
      rows[tile] = static_cast<uint8_t>(n_rows);
      row_bytes[tile] = static_cast<uint16_t>(bytes);
    }
  };

  explicit TileRegisters(const Shapes& shapes) { _tile_loadconfig(&shapes); }
  ~TileRegisters() { _tile_release(); }
};

// Tiles by a template's parameter, and what they read and write in memory told to compilers: intrinsics take literals
// alone and tell nothing.
template <int kTile>
inline void zero_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
template <int kTile>
inline void load_tile(const void* from, size_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile, size_t kSize>
inline void store_tile(i32v (&to)[kSize]) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(sizeof(i32v)), "i"(kTile) : "memory");
}
template <int kSum, int kRows, int kColumns>
inline void add_tile_products() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kRows), "i"(kColumns));
}

// Sums of byte products: those of kTileTokens tokens and of two row vectors' codes, each in kParts parts, in tiles 0-3.
// Tile 4 holds kBytes bytes of every token, and 5-7 as many of a part's codes, four to a lane.
template <int kBytes, int kParts>
class SumTiles : TileRegisters {
 public:
  SumTiles() : TileRegisters(shapes()) {}

  static void zero() {
    zero_tile<0>();
    zero_tile<1>();
    if constexpr (kParts == 2) {
      zero_tile<2>();
      zero_tile<3>();
    }
  }

  // Of a token, whose bytes begin `stride` after those of the token before, and of the codes from word q on.
  template <int kWords>
  static void add_products(const int8_t* x, size_t stride, const i32v (&codes)[2][kParts][kWords], int q) {
    load_tile<4>(x + 4 * q, stride);
    load_tile<5>(codes[0][0] + q, sizeof(i32v));
    load_tile<6>(codes[1][0] + q, sizeof(i32v));
    add_tile_products<0, 4, 5>();
    add_tile_products<1, 4, 6>();
    if constexpr (kParts == 2) {
      load_tile<7>(codes[0][1] + q, sizeof(i32v));
      load_tile<5>(codes[1][1] + q, sizeof(i32v));
      add_tile_products<2, 4, 7>();
      add_tile_products<3, 4, 5>();
    }
  }

  // sums[r][part][token], rows in lanes
  static void store(i32v (&sums)[2][kParts][kTileTokens]) {
    store_tile<0>(sums[0][0]);
    store_tile<1>(sums[1][0]);
    if constexpr (kParts == 2) {
      store_tile<2>(sums[0][1]);
      store_tile<3>(sums[1][1]);
    }
  }

 private:
  static Shapes shapes() {
    Shapes shapes;
    for (int tile = 0; tile < 8; ++tile) {
      shapes.set(tile, tile < 5 ? kTileTokens : kBytes / 4, tile == 4 ? kBytes : sizeof(i32v));
    }
    return shapes;
  }
};

// Sums of products of codes in two planes of signed bytes, 64 * high + low, of kRows rows and a vector of columns.
// There are two sets of them, so that one can be stored while the other one's products are summed.
template <int kRows>
class PlaneTiles : TileRegisters {
 public:
  struct Sums {
    i32v high[kRows], middle[kRows], low[kRows];
    i32v total(size_t row) const { return (((high[row] << 6) + middle[row]) << 6) + low[row]; }
  };
  // Where bytes lie, those of a row or of four codes of all columns `stride` after those before, low ones `plane` after
  // high ones.
  struct Planes {
    const int8_t* bytes;
    size_t plane, stride;
  };

  // Tiles kHigh to kHigh + 2. Tile 6 holds a plane of 64 codes of each row and 7 one of each column, four to a lane.
  template <int kHigh>
  struct Set {
    static constexpr int kMiddle = kHigh + 1, kLow = kHigh + 2;

    static void zero() {
      zero_tile<kHigh>();
      zero_tile<kMiddle>();
      zero_tile<kLow>();
    }
    // While the sums of another set are stored: a tile at a time, because products wait behind many stores at once.
    template <class Other>
    static void add_products(const Planes& rows, const Planes& columns, Other, Sums& others) {
      load_tile<6>(rows.bytes, rows.stride);
      load_tile<7>(columns.bytes, columns.stride);
      add_tile_products<kHigh, 6, 7>();
      Other::store_high(others);
      load_tile<7>(columns.bytes + columns.plane, columns.stride);
      add_tile_products<kMiddle, 6, 7>();
      load_tile<6>(rows.bytes + rows.plane, rows.stride);
      add_tile_products<kLow, 6, 7>();
      Other::store_middle(others);
      load_tile<7>(columns.bytes, columns.stride);
      add_tile_products<kMiddle, 6, 7>();
      Other::store_low(others);
    }
    static void store_high(Sums& sums) { store_tile<kHigh>(sums.high); }
    static void store_middle(Sums& sums) { store_tile<kMiddle>(sums.middle); }
    static void store_low(Sums& sums) { store_tile<kLow>(sums.low); }
    static void store(Sums& sums) {
      store_high(sums);
      store_middle(sums);
      store_low(sums);
    }
  };
  struct NoSet {
    static void store_high(Sums&) {}
    static void store_middle(Sums&) {}
    static void store_low(Sums&) {}
  };
  using Even = Set<0>;
  using Odd = Set<3>;

  PlaneTiles() : TileRegisters(shapes()) {}

 private:
  static Shapes shapes() {
    Shapes shapes;
    for (int tile = 0; tile < 8; ++tile) shapes.set(tile, tile < 7 ? kRows : 16, sizeof(i32v));
    return shapes;
  }
};

inline i32v subtract_from_bytes(i32v codes, int x) {
  return {_mm512_sub_epi8(codes.v, _mm512_set1_epi8(static_cast<char>(x)))};
}

// The bytes of `codes` less `zero`, times the scale that stands in both words of a lane: 128 * high + low.
inline void scale_bytes(i32v codes, int zero, i32v scale, i32v& high, i32v& low) {
  const __m512i zero_i16x32 = _mm512_set1_epi16(static_cast<int16_t>(zero));
  const __m512i even_codes = _mm512_and_si512(codes.v, _mm512_set1_epi16(255));
  const __m512i odd_codes = _mm512_srli_epi16(codes.v, 8);
  const __m512i even = _mm512_mullo_epi16(_mm512_sub_epi16(even_codes, zero_i16x32), scale.v);
  const __m512i odd = _mm512_mullo_epi16(_mm512_sub_epi16(odd_codes, zero_i16x32), scale.v);
  const __mmask64 odd_bytes = 0xaaaaaaaaaaaaaaaa;
  low.v = _mm512_and_si512(_mm512_mask_blend_epi8(odd_bytes, even, _mm512_slli_epi16(odd, 8)), _mm512_set1_epi8(127));
  high.v = _mm512_mask_blend_epi8(odd_bytes, _mm512_srai_epi16(even, 7), _mm512_slli_epi16(odd, 1));
}

PHIGGUF_END_ISA
