# What can be tested without Python, and so on a machine that is only emulated: every ISA computes the same, and no
# ISA's object file offers the linker anything but its table of kernels.
file(GLOB phigguf_digest_sources CONFIGURE_DEPENDS tests/native/*.cpp)
add_executable(digest ${phigguf_digest_sources})
target_compile_options(digest PRIVATE ${PHIGGUF_WARNINGS} -ffp-contract=off)
target_link_libraries(digest PRIVATE phigguf_native)
add_test(NAME digest COMMAND digest)

if(UNIX AND NOT APPLE AND NOT PHIGGUF_SANITIZE)
  set(check_sealed "${PROJECT_SOURCE_DIR}/tools/check_sealed.sh" ${CMAKE_NM})
  foreach(isa IN LISTS PHIGGUF_ISAS)
    add_test(NAME sealed_${isa} COMMAND ${check_sealed} ${isa} $<TARGET_OBJECTS:phigguf_${isa}> COMMAND_EXPAND_LISTS)
  endforeach()
  # Code that uses the standard library is full of weak symbols: the check has to say so.
  add_test(NAME sealed_sees_leaks COMMAND ${check_sealed} scalar $<TARGET_OBJECTS:phigguf_native> COMMAND_EXPAND_LISTS)
  set_tests_properties(sealed_sees_leaks PROPERTIES PASS_REGULAR_EXPRESSION "scalar is not sealed.*W std::")
endif()
