// Compiled once per ISA: see operations.h.
#include "operations.h"

#include "simd/simd.h"

PHIGGUF_BEGIN_ISA

class Visitor {
 public:
  Visitor(digest::Visit visit, void* context) : visit_(visit), context_(context) {}

  void operator()(const char* name, f32v x) const { report(name, true, as_bits(x)); }
  void operator()(const char* name, i32v x) const { report(name, false, x); }
  void operator()(const char* name, maskv m) const { report(name, false, select(m, set(1), set(0))); }

 private:
  void report(const char* name, bool is_float, i32v bits) const {
    int32_t lanes[kLanes];
    store(lanes, bits);
    visit_(context_, name, is_float, lanes, kLanes);
  }

  digest::Visit visit_;
  void* context_;
};

inline void visit_float_operations(const Visitor& visit, f32v a, f32v b, f32v c) {
  visit("+", a + b);
  visit("-", a - b);
  visit("*", a * b);
  visit("/", a / b);
  visit("neg", neg(a));
  visit("abs", abs(a));
  visit("sqrt", sqrt(a));
  visit("fma", fma(a, b, c));
  visit("min", min(a, b));
  visit("max", max(a, b));
  visit("<", a < b);
  visit("<=", a <= b);
  visit(">", a > b);
  visit(">=", a >= b);
  visit("==", a == b);
  visit("!=", a != b);
  visit("mask &", (a < b) & (a < c));
  visit("mask |", (a < b) | (a < c));
  visit("mask ~", ~(a < b));
  visit("select", select(a < b, a, c));
  visit("truncate", truncate(a));
  visit("to_f16", select(a == a, to_f16(a), set(0)));  // which NaN it makes is left open
}

inline void visit_integer_operations(const Visitor& visit, i32v a, i32v b, i32v c) {
  visit("int +", a + b);
  visit("int -", a - b);
  visit("int *", a * b);
  visit("int &", a & b);
  visit("int |", a | b);
  visit("int ^", a ^ b);
  visit("int << 0", a << 0);
  visit("int << 24", a << 24);
  visit("int << 31", a << 31);
  visit("int >> 0", a >> 0);
  visit("int >> 1", a >> 1);
  visit("int >> 31", a >> 31);
  visit("int min", min(a, b));
  visit("int max", max(a, b));
  visit("int ==", a == b);
  visit("int !=", a != b);
  visit("int >", a > b);
  visit("int select", select(a > b, a, c));
  visit("to_f32", to_f32(a));
  visit("from_f16", from_f16(a & set(0xffff)));
}

// Bytes of x and words of either side are above their lowest value, by contract; so are those with the low bit set.
// The accumulator is small enough for two of the largest products. Codes of six bits leave room for two of them, and
// for one in a sum that is scaled.
inline void visit_dot_products(const Visitor& visit, i32v codes, i32v x, i32v c) {
  const i32v acc = c >> 16, x_bytes = x | set(0x01010101);
  const i32v small_codes = codes & set(0x3f3f3f3f);
  const bytesumv one = multiply_bytes(small_codes, x_bytes);
  const bytesumv sum = add_products(one, x & set(0x3f3f3f3f), x_bytes);
  visit("add_sum", add_sum(acc, sum));
  visit("add_scaled 0", add_scaled(acc, one, byte_scale(codes, 0)));
  visit("add_scaled 1", add_scaled(acc, one, byte_scale(codes, 1)));
  visit("add_scaled 2", add_scaled(acc, one, byte_scale(codes, 2)));
  visit("add_scaled 3", add_scaled(acc, one, byte_scale(codes, 3)));
  visit("byte_pair 0", byte_pair(codes, 0));
  visit("byte_pair 1", byte_pair(codes, 1));
  visit("dot_words", dot_words(acc, codes | set(0x00010001), x | set(0x00010001)));

  // Where an ISA wants its codes less 128, give it that, and add what is then missing: 128 times the sum of x.
  i32v product = acc;
  if constexpr (kWideCodesAreSigned) {
    const i32v top_bits = set(static_cast<int32_t>(0x80808080u));
    product = add_sum(product, multiply_wide_bytes(codes ^ top_bits, x_bytes));
    product = product + (add_sum(set(0), multiply_bytes(set(0x01010101), x_bytes)) << 7);
  } else {
    product = add_sum(product, multiply_wide_bytes(codes, x_bytes));
  }
  visit("multiply_wide_bytes", product);
}

inline void visit_memory_operations(const Visitor& visit, i32v bits) {
  float floats[kLanes];
  store(floats, as_floats(bits));
  visit("load float", load(floats));
  float thirds[256];
  for (int i = 0; i < 256; ++i) thirds[i] = static_cast<float>(i) / 3.0f;
  visit("gather", gather(thirds, bits & set(255)));
  uint16_t words[kLanes];
  store_u16(words, bits);
  visit("load float16", load(reinterpret_cast<const float16*>(words)));
  visit("load bfloat16", load(reinterpret_cast<const bfloat16*>(words)));
  uint8_t bytes[kLanes];
  store_u8(bytes, bits);
  int32_t widened[kLanes];
  for (int l = 0; l < kLanes; ++l) widened[l] = bytes[l];
  visit("store_u8", load(widened));
}

// Lane l is 1 where all is right about lane l: how many there are must not show.
inline void visit_lane_operations(const Visitor& visit) {
  int32_t order[kLanes], right[kLanes];
  for (int l = 0; l < kLanes; ++l) order[l] = l;
  for (int l = 0; l < kLanes; ++l) right[l] = any(load(order) == set(l)) && !any(load(order) == set(kLanes));
  visit("any", load(right));

  for (int l = 0; l < kLanes; ++l)
    right[l] = highest_lane(select(load(order) == set(l), set(-1.0f), set(-2.0f))) == -1.0f;
  visit("highest_lane", load(right));

  f32v square[kLanes];
  for (int row = 0; row < kLanes; ++row) square[row] = to_f32(load(order) + set(kLanes * row));
  transpose(square);
  for (int row = 0; row < kLanes; ++row) {
    float lanes[kLanes];
    store(lanes, square[row]);
    right[row] = 1;
    for (int l = 0; l < kLanes; ++l) right[row] &= lanes[l] == static_cast<float>(kLanes * l + row);
  }
  visit("transpose", load(right));
}

// Lane l is 1 where word i of row l has come to lane l of words[i].
inline void visit_quads(const Visitor& visit) {
  int32_t table[kLanes][5], right[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    for (int i = 0; i < 5; ++i) table[l][i] = 8 * l + i;
  }
  i32v words[4];
  load_quads([&](size_t lane) { return reinterpret_cast<const uint8_t*>(&table[lane][1]); }, words);
  for (int l = 0; l < kLanes; ++l) right[l] = 1;
  for (int i = 0; i < 4; ++i) {
    int32_t lanes[kLanes];
    store(lanes, words[i]);
    for (int l = 0; l < kLanes; ++l) right[l] &= lanes[l] == 8 * l + i + 1;
  }
  visit("load_quads", load(right));
}

PHIGGUF_END_ISA

namespace phigguf {
namespace PHIGGUF_ISA {

void visit_operations(const digest::Operands& operands, digest::Visit visit, void* context) {
  const Visitor visitor(visit, context);
  for (size_t l = 0; l < digest::kOperandLanes; l += kLanes) {
    const auto operand = [l](const int32_t* bits) { return load(bits + l); };
    const i32v a = operand(operands.a), b = operand(operands.b), c = operand(operands.c);
    visit_float_operations(visitor, as_floats(a), as_floats(b), as_floats(c));
    visit_integer_operations(visitor, a, b, c);
    visit_dot_products(visitor, a, b, c);
    visit_memory_operations(visitor, a);
    visit_lane_operations(visitor);
    visit_quads(visitor);
  }
}

}  // namespace PHIGGUF_ISA
}  // namespace phigguf
