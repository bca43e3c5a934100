# `ctest` runs the Python tests against this very build: the package is staged in the build
# directory with the fresh extension inside, so nothing installed can be tested by mistake. What
# is about the installation alone stays out. What a sanitizer writes to file descriptor 2 is not captured.
set(stage "${PROJECT_BINARY_DIR}/stage")

add_custom_target(stage ALL
  COMMAND ${CMAKE_COMMAND} -E copy_directory "${PROJECT_SOURCE_DIR}/python/phigguf" "${stage}/phigguf"
  COMMAND ${CMAKE_COMMAND} -E copy "$<TARGET_FILE:_core>" "${stage}/phigguf"
  DEPENDS _core
  VERBATIM)

add_test(NAME python
  COMMAND "${Python_EXECUTABLE}" -m pytest --capture=sys --ignore=tests/test_packaging.py
  WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")

set(environment
  PYTHONPATH=path_list_prepend:${stage}
  ASAN_OPTIONS=set:detect_leaks=0  # the interpreter keeps what it allocated
  UBSAN_OPTIONS=set:print_stacktrace=1)
if(PHIGGUF_SANITIZER_RUNTIME)
  list(APPEND environment LD_PRELOAD=set:${PHIGGUF_SANITIZER_RUNTIME})
endif()
set_tests_properties(python PROPERTIES ENVIRONMENT_MODIFICATION "${environment}")
