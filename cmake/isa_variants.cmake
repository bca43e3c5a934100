# The one table of instruction sets: name, then the compiler flags that allow exactly its instructions. Best first.
#
# An ISA needs a row here, csrc/simd/<name>.h with its two lines in simd.h, and its requirement in
# csrc/dispatch/dispatch.cpp.
string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" phigguf_processor)
if(CMAKE_OSX_ARCHITECTURES)
  string(TOLOWER "${CMAKE_OSX_ARCHITECTURES}" phigguf_processor)
endif()

set(PHIGGUF_ISAS "")
macro(phigguf_isa name)
  list(APPEND PHIGGUF_ISAS ${name})
  set(PHIGGUF_FLAGS_${name} ${ARGN})
endmacro()

if(phigguf_processor MATCHES "x86_64|amd64")
  set(avx2_flags -mavx2 -mfma -mf16c)
  set(avx512_flags ${avx2_flags} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni)
  phigguf_isa(amx_int8 ${avx512_flags} -mamx-tile -mamx-int8)
  phigguf_isa(avx512vnni ${avx512_flags})
  phigguf_isa(avxvnni ${avx2_flags} -mavxvnni)
  phigguf_isa(avx2 ${avx2_flags})
elseif(phigguf_processor MATCHES "aarch64|arm64")
  phigguf_isa(neon_i8mm -march=armv8.2-a+dotprod+i8mm)
  phigguf_isa(neon_dotprod -march=armv8.2-a+dotprod)
endif()
phigguf_isa(scalar)

set(PHIGGUF_ONLY_ISAS "" CACHE STRING "Compile these of the ISAs only (a list; empty: all)")
if(PHIGGUF_ONLY_ISAS)
  set(PHIGGUF_ISAS ${PHIGGUF_ONLY_ISAS})
endif()

# An object library of one source file for one ISA. Its floating point is strict: IEEE rounding, no fused operations
# but those written as fma. It has no exceptions, whose handling would be a symbol shared with code for other CPUs.
function(phigguf_add_isa_object library isa source)
  add_library(${library} OBJECT ${source})
  target_include_directories(${library} PRIVATE csrc)
  target_compile_definitions(
    ${library} PRIVATE PHIGGUF_ISA=${isa} PHIGGUF_SIMD_${isa} PHIGGUF_ISA_NAME="${isa}")
  target_compile_options(${library} PRIVATE -O3 -ffp-contract=off -fno-math-errno -fno-exceptions -fno-lto
                                            ${PHIGGUF_FLAGS_${isa}} ${PHIGGUF_WARNINGS})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # gcc's own AVX-512 headers read "undefined" vectors on purpose.
    target_compile_options(${library} PRIVATE -Wno-maybe-uninitialized -Wno-uninitialized)
  endif()
  set_target_properties(${library} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
endfunction()

# Adds the one file that instantiates every kernel, once per ISA, and the list of these ISAs.
function(phigguf_add_variants target)
  set(declarations "")
  foreach(isa IN LISTS PHIGGUF_ISAS)
    phigguf_add_isa_object(phigguf_${isa} ${isa} csrc/kernels/variant.cpp)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:phigguf_${isa}>)
    string(APPEND declarations " X(${isa})")
  endforeach()
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/generated/isa_list.h
       CONTENT "#pragma once\n\n#define PHIGGUF_ISA_LIST(X)${declarations}\n")
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/generated)
endfunction()
