# What can be tested without Python, and so on a machine that is only emulated: every ISA computes the same, and no
# ISA's object file offers the linker anything that could replace another's code.
file(GLOB phigguf_digest_sources CONFIGURE_DEPENDS tests/native/*.cpp)
list(FILTER phigguf_digest_sources EXCLUDE REGEX "/(operations|thread_pool_test).cpp$")
add_executable(digest ${phigguf_digest_sources})
target_include_directories(digest PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/generated)
foreach(isa IN LISTS PHIGGUF_ISAS)
  phigguf_add_isa_object(operations_${isa} ${isa} tests/native/operations.cpp)
  target_sources(digest PRIVATE $<TARGET_OBJECTS:operations_${isa}>)
endforeach()
target_compile_options(digest PRIVATE ${PHIGGUF_WARNINGS} -ffp-contract=off)
target_link_libraries(digest PRIVATE phigguf_native)
add_test(NAME digest COMMAND digest)

foreach(program tests/native/thread_pool_test benchmarks/bench_thread_pool)
  get_filename_component(name ${program} NAME)
  add_executable(${name} ${program}.cpp)
  target_compile_options(${name} PRIVATE ${PHIGGUF_WARNINGS})
  target_link_libraries(${name} PRIVATE phigguf_native)
endforeach()
add_test(NAME thread_pool COMMAND thread_pool_test)
# The sanitizer would end the forked child.
set_tests_properties(thread_pool PROPERTIES ENVIRONMENT TSAN_OPTIONS=die_after_fork=0)

if(UNIX AND NOT APPLE AND NOT PHIGGUF_SANITIZE)
  set(check_sealed "${PROJECT_SOURCE_DIR}/tools/check_sealed.sh" ${CMAKE_NM})
  foreach(isa IN LISTS PHIGGUF_ISAS)
    add_test(NAME sealed_${isa} COMMAND ${check_sealed} ${isa} $<TARGET_OBJECTS:phigguf_${isa}>
                                        $<TARGET_OBJECTS:operations_${isa}> COMMAND_EXPAND_LISTS)
  endforeach()
  # Code that uses the standard library is full of weak symbols: the check has to say so.
  add_test(NAME sealed_sees_leaks COMMAND ${check_sealed} scalar $<TARGET_OBJECTS:phigguf_native> COMMAND_EXPAND_LISTS)
  set_tests_properties(sealed_sees_leaks PROPERTIES PASS_REGULAR_EXPRESSION "scalar is not sealed.*W std::")
endif()
