// Getting a mapped file ready to be used.
#pragma once

#include <cstddef>
#include <cstdint>

namespace phigguf {

// Maps those bytes of a mapped file that memory holds, over all threads. They lie at `offset` of the open file.
void map_cached(const uint8_t* bytes, size_t size, int file, uint64_t offset);

}  // namespace phigguf
