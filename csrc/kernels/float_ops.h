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

// out = weight * (x - mean) / sqrt(mean((x - mean)^2) + epsilon) + bias
inline void layer_norm(const float* x, const float* weight, const float* bias, size_t size, float epsilon, float* out) {
  Partials total = zero_partials();
  for_each_run(size, [&](size_t i, size_t n) {
    const Partials run = load_run(x + i, n);
    for (int v = 0; v < kVectors; ++v) total.v[v] = total.v[v] + run.v[v];
  });
  const f32v mean = set(tree_sum(total) / static_cast<float>(size));

  Partials squares = zero_partials();
  for_each_run(size, [&](size_t i, size_t n) {
    Partials run = load_run(x + i, n);
    for (f32v& v : run.v) v = v - mean;
    store_run(out + i, n, run);
    const Partials centred = load_run(out + i, n);  // zeros past the end, where `run` holds -mean
    add_products(squares, centred, centred);
  });
  const float variance = tree_sum(squares) / static_cast<float>(size);
  const f32v scale = set(1.0f / __builtin_sqrtf(variance + epsilon));
  for_each_run(size, [&](size_t i, size_t n) {
    Partials run = load_run(out + i, n);
    const Partials w = load_run(weight + i, n), b = load_run(bias + i, n);
    for (int v = 0; v < kVectors; ++v) run.v[v] = fma(w.v[v], run.v[v] * scale, b.v[v]);
    store_run(out + i, n, run);
  });
}

// out = x (1 + tanh u) / 2 = x / (1 + e^-2u), where u = sqrt(2 / pi) (x + 0.044715 x^3)
inline void gelu(const float* x, size_t size, float* out) {
  const f32v linear = set(-0x1.988454p+0f), cubic = set(-0x1.2444f2p-4f);  // -2 sqrt(2 / pi), and 0.044715 of it
  for_each_run(size, [&](size_t i, size_t n) {
    Partials run = load_run(x + i, n);
    for (f32v& v : run.v) v = v / (set(1.0f) + exp(v * fma(cubic, v * v, linear)));
    store_run(out + i, n, run);
  });
}

// out = e^(x - max) / sum(e^(x - max))
inline void softmax(const float* x, size_t size, float* out) {
  float top = -__builtin_inff();
  for (size_t i = 0; i < size; ++i) top = x[i] > top ? x[i] : top;
  Partials total = zero_partials();
  for_each_run(size, [&](size_t i, size_t n) {
    Partials run = load_run(x + i, n);
    for (f32v& v : run.v) v = exp(v - set(top));
    store_run(out + i, n, run);
    run = load_run(out + i, n);  // zeros past the end
    for (int v = 0; v < kVectors; ++v) total.v[v] = total.v[v] + run.v[v];
  });
  const f32v sum = set(tree_sum(total));
  for_each_run(size, [&](size_t i, size_t n) {
    Partials run = load_run(out + i, n);
    for (f32v& v : run.v) v = v / sum;
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
