// Sums of float products in an order that no vector width shows.
//
// A sum over k is kept as sixteen partial sums, element k in sum k % 16, each extended by `fma`. They are then added
// as a tree: sum i + sum i + 8, then + 4, + 2, + 1. An ISA of n lanes holds the sixteen in 16 / n vectors.
#pragma once

#include "simd/simd.h"

PHIGGUF_BEGIN_ISA

constexpr int kPartials = 16;
constexpr int kVectors = kPartials / kLanes;

struct Partials {
  f32v v[kVectors];
};

inline Partials zero_partials() {
  Partials p;
  for (f32v& v : p.v) v = set(0.0f);
  return p;
}

// Sixteen elements from memory, or the last n of a row with zeros after them.
template <class Element>
inline Partials load_partials(const Element* p) {
  Partials x;
  for (int i = 0; i < kVectors; ++i) x.v[i] = load(p + i * kLanes);
  return x;
}
template <class Element>
inline Partials load_partials(const Element* p, size_t n) {
  Element padded[kPartials] = {};
  std::memcpy(padded, p, n * sizeof(Element));
  return load_partials(padded);
}
inline void store_partials(float* p, const Partials& x) {
  for (int i = 0; i < kVectors; ++i) store(p + i * kLanes, x.v[i]);
}
inline void store_partials(float* p, size_t n, const Partials& x) {
  float padded[kPartials];
  store_partials(padded, x);
  std::memcpy(p, padded, n * sizeof(float));
}

inline void add_products(Partials& sum, const Partials& a, const Partials& b) {
  for (int i = 0; i < kVectors; ++i) sum.v[i] = fma(a.v[i], b.v[i], sum.v[i]);
}

// Lane l of the result is the tree sum of sums[l].
inline f32v tree_sums(Partials (&sums)[kLanes]) {
  f32v square[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    for (int half = kVectors / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) sums[l].v[i] = sums[l].v[i] + sums[l].v[i + half];
    }
    square[l] = sums[l].v[0];
  }
  transpose(square);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) square[i] = square[i] + square[i + half];
  }
  return square[0];
}

inline float tree_sum(const Partials& sum) {
  float p[kPartials];
  store_partials(p, sum);
  for (int half = kPartials / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) p[i] = p[i] + p[i + half];
  }
  return p[0];
}

PHIGGUF_END_ISA
