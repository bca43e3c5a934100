// The only checker of array arguments: exact dtype, exact rank, C-contiguous, or TypeError. Nothing is converted.
#pragma once

#include <pybind11/numpy.h>

#include <string>

#include "bindings/errors.h"
#include "formats/format_list.h"

namespace phigguf {

inline std::string describe(const pybind11::array& array) {
  std::string text = pybind11::str(pybind11::object(array.dtype()));
  text += "[";
  for (pybind11::ssize_t i = 0; i < array.ndim(); ++i) {
    text += (i ? ", " : "") + std::to_string(array.shape(i));
  }
  return text + "]";
}

template <class Element>
void check_array(const pybind11::array& array, pybind11::ssize_t rank, const char* name) {
  const bool fits = pybind11::isinstance<pybind11::array_t<Element>>(array) && array.ndim() == rank &&
                    (array.flags() & pybind11::array::c_style);
  if (fits) return;
  const std::string wanted = pybind11::str(pybind11::object(pybind11::dtype::of<Element>()));
  throw pybind11::type_error(std::string(name) + " must be a C-contiguous " + wanted + " array of rank " +
                             std::to_string(rank) + ", not " + describe(array));
}

template <class Element>
const Element* input(const pybind11::array& array, pybind11::ssize_t rank, const char* name) {
  check_array<Element>(array, rank, name);
  return static_cast<const Element*>(array.data());
}

template <class Element>
Element* output(pybind11::array& array, pybind11::ssize_t rank, const char* name) {
  check_array<Element>(array, rank, name);
  if (!array.writeable()) throw pybind11::type_error(std::string(name) + " must be writeable");
  return static_cast<Element*>(array.mutable_data());
}

inline size_t extent(const pybind11::array& array, int axis) { return static_cast<size_t>(array.shape(axis)); }

inline void check_extent(const pybind11::array& array, int axis, size_t wanted, const char* name) {
  if (extent(array, axis) == wanted) return;
  raise_error("ShapeError", "axis " + std::to_string(axis) + " must have length " + std::to_string(wanted), name,
              pybind11::str(describe(array)));
}

inline Type type_from_name(const std::string& name) {
  for (int i = 0; i < kTypeCount; ++i) {
    if (name == kTypes[i].name) return static_cast<Type>(i);
  }
  raise_error("UnsupportedError", "unknown tensor type", "type", pybind11::str(name));
}

// Bytes in a row of `cols` weights.
inline size_t checked_row_bytes(Type type, size_t cols) {
  const auto width = static_cast<size_t>(info(type).block_width);
  if (cols % width == 0) return info(type).row_bytes(cols);
  raise_error("ShapeError",
              std::string("the row width must be a multiple of ") + info(type).name + "'s " + std::to_string(width),
              "columns", pybind11::int_(cols));
}

}  // namespace phigguf
