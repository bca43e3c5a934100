// Compiled once per ISA: every kernel, instantiated for every tensor type, in one table.
#include "formats/all_formats.h"
#include "kernels/attention.h"
#include "kernels/decode.h"
#include "kernels/encode.h"
#include "kernels/float_ops.h"
#include "kernels/kernel_table.h"
#include "kernels/matmul_blocks.h"
#include "kernels/matmul_floats.h"
#include "kernels/squared_error.h"

namespace phigguf {
namespace PHIGGUF_ISA {

const KernelTable& kernel_table() {
  static constexpr KernelTable kTable = {
      PHIGGUF_ISA_NAME,
      {
#define PHIGGUF_FLOAT_ENTRY(name, id, element) encode_floats<element>,
#define PHIGGUF_BLOCK_ENTRY(name, id, width) encode_rows<name>,
          PHIGGUF_FLOAT_TYPES(PHIGGUF_FLOAT_ENTRY) PHIGGUF_BLOCK_TYPES(PHIGGUF_BLOCK_ENTRY)
#undef PHIGGUF_FLOAT_ENTRY
#undef PHIGGUF_BLOCK_ENTRY
      },
      {
#define PHIGGUF_FLOAT_ENTRY(name, id, element) decode_floats<element>,
#define PHIGGUF_BLOCK_ENTRY(name, id, width) decode_blocks<name>,
          PHIGGUF_FLOAT_TYPES(PHIGGUF_FLOAT_ENTRY) PHIGGUF_BLOCK_TYPES(PHIGGUF_BLOCK_ENTRY)
#undef PHIGGUF_FLOAT_ENTRY
#undef PHIGGUF_BLOCK_ENTRY
      },
      {
#define PHIGGUF_FLOAT_ENTRY(name, id, element) squared_error_as<element>,
#define PHIGGUF_BLOCK_ENTRY(name, id, width) squared_error<name>,
          PHIGGUF_FLOAT_TYPES(PHIGGUF_FLOAT_ENTRY) PHIGGUF_BLOCK_TYPES(PHIGGUF_BLOCK_ENTRY)
#undef PHIGGUF_FLOAT_ENTRY
#undef PHIGGUF_BLOCK_ENTRY
      },
      {
#define PHIGGUF_FLOAT_ENTRY(name, id, element) nullptr,
#define PHIGGUF_BLOCK_ENTRY(name, id, width) quantize_activations<name>,
          PHIGGUF_FLOAT_TYPES(PHIGGUF_FLOAT_ENTRY) PHIGGUF_BLOCK_TYPES(PHIGGUF_BLOCK_ENTRY)
#undef PHIGGUF_FLOAT_ENTRY
#undef PHIGGUF_BLOCK_ENTRY
      },
      {
#define PHIGGUF_FLOAT_ENTRY(name, id, element) matmul_floats<element>,
#define PHIGGUF_BLOCK_ENTRY(name, id, width) matmul_blocks<name>,
          PHIGGUF_FLOAT_TYPES(PHIGGUF_FLOAT_ENTRY) PHIGGUF_BLOCK_TYPES(PHIGGUF_BLOCK_ENTRY)
#undef PHIGGUF_FLOAT_ENTRY
#undef PHIGGUF_BLOCK_ENTRY
      },
      rms_norm,
      layer_norm,
      gelu,
      softmax,
      silu_mul,
      rotate_halves,
      largest_magnitude,
      attention_scratch,
      attend,
      attention_part,
      attend_span,
      join_spans,
  };
  return kTable;
}

}  // namespace PHIGGUF_ISA
}  // namespace phigguf
