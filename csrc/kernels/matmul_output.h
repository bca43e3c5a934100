// Where kLanes products of one token go.
#pragma once

#include "kernels/compute_jobs.h"
#include "simd/simd.h"

PHIGGUF_BEGIN_ISA

// Lane l is the product with weight row `row` + l; lanes past the last row are dropped.
inline void store_products(const MatmulJob& job, size_t row, size_t token, f32v products) {
  float* out = job.out + token * job.out_stride + row;
  if (job.rows - row >= kLanes) {
    store(out, job.accumulate ? load(out) + products : products);
  } else {
    float lanes[kLanes];
    store(lanes, products);
    for (size_t l = 0; l < job.rows - row; ++l) out[l] = job.accumulate ? out[l] + lanes[l] : lanes[l];
  }
}

PHIGGUF_END_ISA
