#include "base/file_access.h"

#include <cerrno>

#if defined(_WIN32)
#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <io.h>
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace phigguf {

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

void read_ahead(const uint8_t* bytes, size_t size) {
  static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(bytes) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(bytes) + size;
  posix_madvise(reinterpret_cast<void*>(begin), end - begin, POSIX_MADV_WILLNEED);
}

#endif

}  // namespace phigguf
