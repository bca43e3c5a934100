// What passes over mapped files need from the operating system beside memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace phigguf {

// Writes at a place in an open file, whatever its position; from any number of threads. Returns 0 or an errno.
int write_at(int file, const uint8_t* bytes, size_t size, uint64_t offset);

// Tells the system that mapped bytes will soon be read, so that it fetches them meanwhile.
void read_ahead(const uint8_t* bytes, size_t size);

// Whether memory holds the byte at a place in an open file; no where the system cannot tell.
bool is_cached(int file, uint64_t offset);

// Maps the pages of mapped bytes at once, instead of one fault after another. Only a hint.
void map_pages(const uint8_t* bytes, size_t size);

}  // namespace phigguf
