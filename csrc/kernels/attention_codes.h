// A block of attention with products of codes, exact in 32 bits, so that every ISA may sum them as suits it.
//
// A row's code is its number in units of which its largest magnitude holds kLargestCode: for keys and queries exactly;
// for values at most, their unit being a power of two, 2^e, so that e can be added to the scores: then a weight counts
// units of its value. With q, k_j, v_j codes, and u and u_j the units of a query and a key,
//   s_j = fma(u, u_j * (q . k_j), e_j)       w_j = 2^(s_j - max_j s_j)       c_j = round(4095 w_j)
//   l'_p = sum of w_j 4095 / 2^e_j, a chain of fma, j in sum j % 16       o' = sum of c_j v_j
// The highest weight of a block has the highest code, however little the block counts beside others.
#pragma once

#include "kernels/largest_magnitude.h"
#include "kernels/pair_products.h"
#include "kernels/plane_products.h"

PHIGGUF_BEGIN_ISA

constexpr float kLargestCode = 4095.0f;
constexpr float kLeastPeak = 0x1p-40f;  // rows whose numbers are all smaller have smaller codes
constexpr double kLargestProduct = double{kLargestCode} * kLargestCode;
static_assert(kLargestProduct * kMostCodeDimensions < 0x1p31 && kLargestProduct * kKeys < 0x1p31);

// The nearest integer to x * y, below 2^15, in the low word of each lane.
inline i32v product_word(f32v x, f32v y) { return as_bits(fma(x, y, set(kRounder))); }

template <class Products>
class CodeBlocks {
 public:
  CodeBlocks(const AttentionRows& rows, float* scratch)
      : all_(rows), width_(rows.width()), products_(scratch, rows.count(), rows.width()) {
    decoded_ = scratch + Products::floats(all_.count(), width_);
    query_units_ = decoded_ + (kKeys + 1) * width_;
    for (size_t row = 0; row < all_.count(); ++row) query_units_[row] = encode_query(row);
  }

  static size_t scratch_floats(const AttentionRows& rows) {
    return Products::floats(rows.count(), rows.width()) + (kKeys + 1) * rows.width() + rows.count();
  }

  void attend(size_t start, const RowStates& states) const {
    const RowTile all = all_.tile(start, {0, all_.count()});
    if (all.seen.begin >= all.seen.end) return;
    Prefetch next = all_.block_after(start);
    const BlockUnits units(all_.peaks(all_.job().keys, start), all_.peaks(all_.job().values, start));
    with_rows(all_.job().keys, start, [&](auto* rows) { find_weights(start, all, rows, units, next, states); });
    with_rows(all_.job().values, start, [&](auto* rows) { encode_values(rows, units, all.seen, next); });
    all_.for_tiles<Products::kRows>(start, [&](const RowTile& tile) {
      products_.add_values(tile, [states, first = tile.rows.begin](size_t r, size_t d, i32v sum)
                                     PHIGGUF_INLINE { states.join(first + r, d, to_f32(sum)); });
    });
  }

 private:
  // What the codes of a block count.
  struct BlockUnits {
    alignas(64) float keys[kKeys], key_inverses[kKeys];
    float value_exponents[kKeys], value_inverses[kKeys], weights[kKeys];

    BlockUnits(const float* key_peaks, const float* value_peaks) {
      for (size_t j = 0; j < kKeys; j += kLanes) {
        const f32v least = set(kLeastPeak), unit = max(load(key_peaks + j), least) / set(kLargestCode);
        store(keys + j, unit);
        store(key_inverses + j, set(1.0f) / unit);
        const f32v past_value = load(value_peaks + j) * set(4096 / kLargestCode);
        const i32v exponent = (as_bits(max(past_value, least)) >> 23) - set(11);  // of 2, plus 127
        const f32v inverse = as_floats((set(254) - exponent) << 23);
        store(value_exponents + j, to_f32(exponent - set(127)));
        store(value_inverses + j, inverse);
        store(weights + j, inverse * set(kLargestCode));
      }
    }
  };

  static size_t columns(const RowTile& tile) {
    return (tile.columns() + Products::kColumns - 1) / Products::kColumns * Products::kColumns;
  }

  // Returns the unit of a query's codes: NaN where it is not finite.
  float encode_query(size_t row) const {
    float* query = decoded_;
    alignas(64) int32_t codes[kMostCodeDimensions] = {};
    all_.load_query(row, query);
    const float found = largest_magnitude(query, width_), peak = found < kLeastPeak ? kLeastPeak : found;
    for (size_t d = 0; peak == peak && d < width_; d += kLanes) {
      store(codes + d, product_word(load(query + d), set(kLargestCode / peak)));
    }
    products_.put_query(row, codes);
    return peak / kLargestCode;
  }

  // Calls use(rows) with the rows of a block, width_ apart.
  template <class Use>
  void with_rows(const CachedRows& from, size_t start, const Use& use) const {
    if (all_.holds(Type::F16)) return use(reinterpret_cast<const float16*>(all_.address(from, start)));
    all_.decode(from, start, kKeys, decoded_);
    use(static_cast<const float*>(decoded_));
  }

  template <class Element>
  void find_weights(size_t start, const RowTile& all, const Element* rows, const BlockUnits& units, Prefetch& next,
                    const RowStates& states) const {
    alignas(64) float scores[Products::kRows * kKeys];
    // Closures hold values: what they refer to would be read again after every store.
    const auto scoring = [&](size_t first) {
      return [out = &scores[0], query_units = query_units_ + first, key_units = &units.keys[0],
              exponents = &units.value_exponents[0]](size_t r, size_t j, i32v products) PHIGGUF_INLINE {
        const f32v product = to_f32(products) * load(key_units + j);
        store(out + r * kKeys + j, fma(product, set(query_units[r]), load(exponents + j)));
      };
    };
    if constexpr (Products::kReadsFew) {
      if (all_.count() <= Products::kRows) {
        multiply_few(rows, units, all, next, scoring(0));
        return weigh(start, all, units, scores, states);
      }
    }
    encode_keys(rows, units, all.columns(), next);
    all_.for_tiles<Products::kRows>(start, [&](const RowTile& tile) {
      products_.multiply_keys(tile, columns(tile), scoring(tile.rows.begin));
      weigh(start, tile, units, scores, states);
    });
  }

  // A few queries, which are one tile, meet keys where they lie.
  template <class Element, class End>
  void multiply_few(const Element* rows, const BlockUnits& units, const RowTile& tile, Prefetch& next,
                    const End& end) const {
    for (size_t j = 0; j < tile.columns(); j += kLanes) {
      const auto encode = [&](size_t l, size_t d) PHIGGUF_INLINE {
        if (d == 0) next.fetch(all_.job().keys.row_bytes / 2);
        if (d >= width_) return set(0);
        return product_word(load(rows + (j + l) * width_ + d), set(units.key_inverses[j + l]));
      };
      products_.multiply_few(tile.count(), encode,
                             [&](size_t r, i32v products) PHIGGUF_INLINE { end(r, j, products); });
    }
  }

  template <class Element>
  void encode_keys(const Element* rows, const BlockUnits& units, size_t columns, Prefetch& next) const {
    constexpr size_t kDimensions = kLanes > 1 ? kLanes : 2;  // at once, whole pairs
    for (size_t j = 0; j < columns; j += kLanes) {
      const f32v inverse = load(units.key_inverses + j);
      for (size_t d = 0; d < width_; d += kDimensions) {
        i32v codes[kDimensions];
        for (size_t first = 0; first < kDimensions; first += kLanes) {
          f32v square[kLanes];
          load_turned(rows + j * width_ + d + first, width_, square);
          for (size_t i = 0; i < kLanes; ++i) codes[first + i] = product_word(square[i], inverse);
        }
        products_.put_keys(j, d, codes);
      }
      next.fetch(all_.job().keys.row_bytes * kLanes / 2);
    }
  }

  template <class Element>
  void encode_values(const Element* rows, const BlockUnits& units, Interval seen, Prefetch& next) const {
    constexpr size_t kPositions = Products::kPositions;
    Products::for_positions(seen, [&](size_t j) {
      for (size_t d = 0; d < width_; d += kLanes) {
        i32v codes[kPositions];
        for (size_t i = 0; i < kPositions; ++i) {
          const size_t k = j + i * Products::kPositionStep;
          codes[i] = product_word(load(rows + k * width_ + d), set(units.value_inverses[k]));
        }
        products_.put_values(j, d, codes);
      }
      next.fetch(all_.job().values.row_bytes * kPositions / 2);
    });
  }

  // Turns scores into weights.
  void weigh(size_t start, const RowTile& tile, const BlockUnits& units, float* scores, const RowStates& states) const {
    const size_t columns = this->columns(tile);
    all_.weigh(start, tile, columns, scores, states, [&](size_t r, float top) {
      return weigh(tile.rows.begin + r, scores + r * kKeys, units, columns, top);
    });
  }

  Partials weigh(size_t row, const float* scores, const BlockUnits& units, size_t columns, float top) const {
    constexpr int kTogether = Products::kWeightVectors, kGroup = kTogether > kVectors ? kTogether : kVectors;
    Partials sum = zero_partials();
    for (size_t j = 0; j < columns; j += kGroup * kLanes) {
      i32v codes[kGroup];
      unroll<kGroup>([&](auto v) PHIGGUF_INLINE {
        const size_t k = j + v * kLanes;
        const f32v weight = rough_exp2_of_negative(load(scores + k) - set(top));
        f32v& part = sum.v[v % kVectors];
        part = fma(weight, load(units.weights + k), part);
        codes[v] = product_word(weight, set(kLargestCode));
      });
      for (size_t v = 0; v < kGroup; v += kTogether) products_.put_weights(row, j + v * kLanes, &codes[v]);
    }
    return sum;
  }

  const AttentionRows& all_;
  size_t width_;
  Products products_;
  float *decoded_, *query_units_;
};

PHIGGUF_END_ISA
