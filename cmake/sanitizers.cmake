# PHIGGUF_SANITIZE=address|undefined|thread instruments the extension. `PHIGGUF_SANITIZER_RUNTIME`
# is what an uninstrumented Python has to preload for it.
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

  # libstdc++ too: the sanitizer looks for its `throw` before Python has loaded any C++.
  set(preloaded_for_address libasan.so libstdc++.so)
  set(preloaded_for_thread libtsan.so libstdc++.so)
  foreach(library IN LISTS preloaded_for_${PHIGGUF_SANITIZE})
    execute_process(
      COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=${library}
      OUTPUT_VARIABLE path
      OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    list(APPEND PHIGGUF_SANITIZER_RUNTIME ${path})
  endforeach()
  list(JOIN PHIGGUF_SANITIZER_RUNTIME ":" PHIGGUF_SANITIZER_RUNTIME)
endif()
