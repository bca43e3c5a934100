// Memory that is kept for the next use, since fresh pages for every use would cost more than much of what fills them.
#pragma once

#include <cstddef>
#include <vector>

namespace phigguf {

template <class Element>
class Scratch {
 public:
  // Room for `size` elements, the first at the beginning of a cache line. What they held is lost where it grows.
  Element* reserve(size_t size) {
    const size_t lines = size / kElements + 1;
    if (lines > lines_.size()) lines_ = std::vector<CacheLine>(lines);
    return lines_[0].elements;
  }

 private:
  static constexpr size_t kLineBytes = 64, kElements = kLineBytes / sizeof(Element);
  struct alignas(kLineBytes) CacheLine {
    Element elements[kElements];
  };

  std::vector<CacheLine> lines_;
};

}  // namespace phigguf
