// In float64, without fused operations: angle = n * pi/2 + r, then Taylor series of r, |r| <= pi/4 (error below 1e-17).
#include "base/sin_cos.h"

#include <cmath>
#include <cstdint>

namespace phigguf {
namespace {

// pi/2 in three parts. n < 2^30 times a part of at most 23 bits is exact, and so is its subtraction.
constexpr double kHalfPi[] = {0x1.921fb4p+0, 0x1.4442dp-24, 0x1.8469898cc5170p-48};
constexpr double kLargest = 0x1p30;

// 1/3!, 1/5!, ... and 1/2!, 1/4!, ...
constexpr double kSine[] = {1.0 / 6,        1.0 / 120,        1.0 / 5040,         1.0 / 362880,
                            1.0 / 39916800, 1.0 / 6227020800, 1.0 / 1307674368000};
constexpr double kCosine[] = {1.0 / 2,       1.0 / 24,        1.0 / 720,         1.0 / 40320,
                              1.0 / 3628800, 1.0 / 479001600, 1.0 / 87178291200, 1.0 / 20922789888000};

// 1 - c0 x + c1 x^2 - ...
template <int N>
double alternating(const double (&c)[N], double x) {
  double sum = 0.0;
  for (int i = N; i-- > 0;) sum = (c[i] - sum) * x;
  return 1.0 - sum;
}

}  // namespace

SinCos sin_cos(float angle) {
  const auto x = static_cast<double>(angle);
  if (!(std::abs(x) < kLargest)) return {NAN, NAN};
  const double n = std::nearbyint(x * 0x1.45f306dc9c883p-1);
  const double r = x - n * kHalfPi[0] - n * kHalfPi[1] - n * kHalfPi[2];
  const double sine = r * alternating(kSine, r * r), cosine = alternating(kCosine, r * r);
  switch (static_cast<int64_t>(n) & 3) {
    case 0:
      return {static_cast<float>(sine), static_cast<float>(cosine)};
    case 1:
      return {static_cast<float>(cosine), static_cast<float>(-sine)};
    case 2:
      return {static_cast<float>(-sine), static_cast<float>(-cosine)};
    default:
      return {static_cast<float>(-cosine), static_cast<float>(sine)};
  }
}

}  // namespace phigguf
