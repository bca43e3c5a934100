// What a pass over mapped files needs from the operating system beside memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace phigguf {

// Writes at a place in an open file, whatever its position; from any number of threads. Returns 0 or an errno.
int write_at(int file, const uint8_t* bytes, size_t size, uint64_t offset);

// Tells the system that mapped bytes will soon be read, so that it fetches them meanwhile.
void read_ahead(const uint8_t* bytes, size_t size);

}  // namespace phigguf
