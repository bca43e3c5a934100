# PHIGGUF_SANITIZE=address|undefined|thread instruments the extension. `PHIGGUF_SANITIZER_RUNTIME`
# is the library that an uninstrumented Python has to preload for it.
set(PHIGGUF_SANITIZE "" CACHE STRING "Sanitizer: address, undefined or thread")
set_property(CACHE PHIGGUF_SANITIZE PROPERTY STRINGS "" address undefined thread)
set(PHIGGUF_SANITIZER_RUNTIME "")

if(PHIGGUF_SANITIZE)
  set(flags -fsanitize=${PHIGGUF_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND flags -Wno-maybe-uninitialized)  # gcc warns of its own instrumentation
  endif()
  add_compile_options(${flags})
  add_link_options(${flags})

  set(runtime_of_address libasan.so)
  set(runtime_of_thread libtsan.so)
  if(DEFINED runtime_of_${PHIGGUF_SANITIZE})
    execute_process(
      COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=${runtime_of_${PHIGGUF_SANITIZE}}
      OUTPUT_VARIABLE PHIGGUF_SANITIZER_RUNTIME
      OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  endif()
endif()
