// What lies between the matrix products, row by row in float32.
#pragma once

#include "kernels/exp.h"
#include "kernels/lane_sums.h"

PHIGGUF_BEGIN_ISA

// Calls visit(i, n) for every run of n <= kPartials elements, all but the last full.
template <class Visit>
inline void for_each_run(size_t size, const Visit& visit) {
  size_t i = 0;
  for (; i + kPartials <= size; i += kPartials) visit(i, static_cast<size_t>(kPartials));
  if (i < size) visit(i, size - i);
}
inline Partials load_run(const float* p, size_t n) { return n == kPartials ? load_partials(p) : load_partials(p, n); }
inline void store_run(float* p, size_t n, const Partials& x) {
  n == kPartials ? store_partials(p, x) : store_partials(p, n, x);
}

// out = weight * (x / sqrt(mean(x^2) + epsilon))
inline void rms_norm(const float* x, const float* weight, size_t size, float epsilon, float* out) {
  Partials squares = zero_partials();
  for_each_run(size, [&](size_t i, size_t n) {
    const Partials run = load_run(x + i, n);
    add_products(squares, run, run);
  });
  const float mean = tree_sum(squares) / static_cast<float>(size);
  const f32v scale = set(1.0f / __builtin_sqrtf(mean + epsilon));
  for_each_run(size, [&](size_t i, size_t n) {
    Partials run = load_run(x + i, n);
    const Partials w = load_run(weight + i, n);
    for (int v = 0; v < kVectors; ++v) run.v[v] = w.v[v] * (run.v[v] * scale);
    store_run(out + i, n, run);
  });
}

// out = up * silu(gate), where silu(x) = x / (1 + e^-x)
inline void silu_mul(const float* gate, const float* up, size_t size, float* out) {
  for_each_run(size, [&](size_t i, size_t n) {
    Partials run = load_run(gate + i, n);
    const Partials factor = load_run(up + i, n);
    for (int v = 0; v < kVectors; ++v) {
      const f32v silu = run.v[v] / (set(1.0f) + exp(neg(run.v[v])));
      run.v[v] = factor.v[v] * silu;
    }
    store_run(out + i, n, run);
  });
}

// Rotates the pairs (x[i], x[half + i]) by the angles whose cosines and sines are given, in place.
inline void rotate_halves(float* x, const float* cosines, const float* sines, size_t half) {
  for_each_run(half, [&](size_t i, size_t n) {
    Partials low = load_run(x + i, n), high = load_run(x + half + i, n);
    const Partials c = load_run(cosines + i, n), s = load_run(sines + i, n);
    for (int v = 0; v < kVectors; ++v) {
      const f32v a = low.v[v], b = high.v[v];
      low.v[v] = a * c.v[v] - b * s.v[v];
      high.v[v] = b * c.v[v] + a * s.v[v];
    }
    store_run(x + i, n, low);
    store_run(x + half + i, n, high);
  });
}

PHIGGUF_END_ISA
