// Sine and cosine of a float32 angle, correctly rounded but for rare halfway cases, the same bits on every CPU.
#pragma once

namespace phigguf {

struct SinCos {
  float sine, cosine;
};

// |angle| may be up to 2^30; beyond, and for NaN, both are NaN.
SinCos sin_cos(float angle);

}  // namespace phigguf
