// Where kLanes products of one token go.
#pragma once

#include "kernels/compute_jobs.h"
#include "simd/simd.h"

PHIGGUF_BEGIN_ISA

// Lane l is the product with weight row `row` + l; lanes past the last row are dropped.
inline void store_products(const MatmulJob& job, size_t row, size_t token, f32v products) {
  float* out = job.out + token * job.out_stride + row;
  if (job.rows - row >= kLanes) {
    store(out, products);
  } else {
    float lanes[kLanes];
    store(lanes, products);
    std::memcpy(out, lanes, (job.rows - row) * sizeof(float));
  }
}

PHIGGUF_END_ISA
