#include "base/file_access.h"

#include <cerrno>

#if defined(_WIN32)
#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <io.h>
#include <windows.h>
#else
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#endif

namespace phigguf {

#if defined(__linux__)

bool is_cached(int file, uint64_t offset) {
  char byte = 0;
  const iovec place{&byte, 1};
  return preadv2(file, &place, 1, static_cast<off_t>(offset), RWF_NOWAIT) == 1;
}

#else

bool is_cached(int, uint64_t) { return false; }

#endif

#if defined(_WIN32)

int write_at(int file, const uint8_t* bytes, size_t size, uint64_t offset) {
  const auto handle = reinterpret_cast<HANDLE>(_get_osfhandle(file));
  while (size > 0) {
    OVERLAPPED place{};
    place.Offset = static_cast<DWORD>(offset);
    place.OffsetHigh = static_cast<DWORD>(offset >> 32);
    const auto piece = static_cast<DWORD>(size < (1u << 30) ? size : 1u << 30);
    DWORD written = 0;
    if (!WriteFile(handle, bytes, piece, &written, &place)) {
      const DWORD error = GetLastError();
      return error == ERROR_DISK_FULL || error == ERROR_HANDLE_DISK_FULL ? ENOSPC : EIO;
    }
    bytes += written;
    size -= written;
    offset += written;
  }
  return 0;
}

void read_ahead(const uint8_t* bytes, size_t size) {
  WIN32_MEMORY_RANGE_ENTRY range{const_cast<uint8_t*>(bytes), size};
  PrefetchVirtualMemory(GetCurrentProcess(), 1, &range, 0);
}

void map_pages(const uint8_t*, size_t) {}

#else

int write_at(int file, const uint8_t* bytes, size_t size, uint64_t offset) {
  while (size > 0) {
    const ssize_t written = pwrite(file, bytes, size, static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    bytes += written;
    size -= static_cast<size_t>(written);
    offset += static_cast<uint64_t>(written);
  }
  return 0;
}

namespace {

// The pages of some bytes.
struct Pages {
  Pages(const uint8_t* bytes, size_t size) {
    static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t begin = reinterpret_cast<uintptr_t>(bytes) / page * page;
    first = reinterpret_cast<void*>(begin);
    length = reinterpret_cast<uintptr_t>(bytes) + size - begin;
  }
  void* first;
  size_t length;
};

}  // namespace

void read_ahead(const uint8_t* bytes, size_t size) {
  const Pages pages(bytes, size);
  posix_madvise(pages.first, pages.length, POSIX_MADV_WILLNEED);
}

void map_pages(const uint8_t* bytes, size_t size) {
#if defined(__linux__)
  constexpr int kPopulateRead = 22;  // MADV_POPULATE_READ, of Linux 5.14, which older headers lack
  const Pages pages(bytes, size);
  madvise(pages.first, pages.length, kPopulateRead);
#endif
}

#endif

}  // namespace phigguf
