# What precompiled headers hold: std and Abseil.
set(MR_PCH_HEADERS
    <algorithm> <cstdint> <functional> <map> <memory> <optional> <string>
    <string_view> <utility> <vector>
    <absl/status/statusor.h> <absl/strings/str_cat.h> <absl/time/time.h>)

# mr_unity(<target> [<source>...])
#   Its sources are compiled by the ten, but for these: they have names of their
#   own, in an anonymous namespace, that another source has, too.
function(mr_unity target)
  if(NOT MILLRACE_UNITY)
    return()
  endif()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON
                                             UNITY_BUILD_BATCH_SIZE 10)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# mr_cc_library(NAME engine SRCS a.cc ... DEPS millrace::common absl::status ...)
#   One library per folder, with the alias millrace::<NAME>. DEPS are PUBLIC:
#   a folder's links are its allowed arrows, so they are worth reading.
#   PRIVATE_DEPS are seen by the sources alone. PCH names headers that nearly all
#   of them include: a precompiled header of its own, with these besides the
#   tree's. ALONE names those of SRCS that mr_unity leaves alone.
function(mr_cc_library)
  cmake_parse_arguments(MR "" "NAME" "SRCS;DEPS;PRIVATE_DEPS;PCH;ALONE" ${ARGN})
  add_library(mr_${MR_NAME} STATIC ${MR_SRCS})
  mr_unity(mr_${MR_NAME} ${MR_ALONE})
  add_library(millrace::${MR_NAME} ALIAS mr_${MR_NAME})
  target_include_directories(mr_${MR_NAME} PUBLIC
    $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>)
  target_link_libraries(mr_${MR_NAME}
    PUBLIC $<BUILD_INTERFACE:mr_flags> ${MR_DEPS}
    PRIVATE $<BUILD_INTERFACE:mr_warnings> ${MR_PRIVATE_DEPS})
  if(MILLRACE_PCH AND MR_PCH)
    target_precompile_headers(mr_${MR_NAME} PRIVATE ${MR_PCH_HEADERS} ${MR_PCH})
  elseif(MILLRACE_PCH AND TARGET mr_pch)
    target_precompile_headers(mr_${MR_NAME} REUSE_FROM mr_pch)
  endif()
endfunction()

# mr_cc_binary(NAME millrace SRCS main.cc DEPS ...) -> build/<preset>/bin/<NAME>
function(mr_cc_binary)
  cmake_parse_arguments(MR "" "NAME" "SRCS;DEPS" ${ARGN})
  add_executable(${MR_NAME} ${MR_SRCS})
  target_include_directories(${MR_NAME} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${MR_NAME} PRIVATE mr_flags mr_warnings ${MR_DEPS})
endfunction()

# mr_cc_test(NAME engine_test LABELS unit SRCS a_test.cc ... DEPS ... [ENV K=V])
#   One test binary per folder, run as one CTest entry per GoogleTest suite
#   would cost a process start each, so the whole binary is one entry. Its
#   precompiled header (common/CMakeLists.txt) has GoogleTest besides the tree's.
#   ALONE as above.
function(mr_cc_test)
  cmake_parse_arguments(MR "" "NAME;TIMEOUT" "SRCS;DEPS;LABELS;ENV;ALONE" ${ARGN})
  if(NOT BUILD_TESTING)
    return()
  endif()
  if(NOT MR_TIMEOUT)
    set(MR_TIMEOUT 300)
  endif()
  if(MILLRACE_SANITIZE)
    math(EXPR MR_TIMEOUT "${MR_TIMEOUT} * 4")  # About what it costs in speed.
  endif()
  add_executable(${MR_NAME} ${MR_SRCS})
  mr_unity(${MR_NAME} ${MR_ALONE})
  target_include_directories(${MR_NAME} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${MR_NAME} PRIVATE
    mr_flags mr_warnings ${MR_DEPS} GTest::gmock GTest::gtest GTest::gtest_main)
  if(MILLRACE_PCH AND TARGET mr_test_pch)
    target_precompile_headers(${MR_NAME} REUSE_FROM mr_test_pch)
  endif()
  set_target_properties(${MR_NAME} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  add_test(NAME ${MR_NAME} COMMAND ${MR_NAME})
  set_tests_properties(${MR_NAME} PROPERTIES
    LABELS "${MR_LABELS}" TIMEOUT ${MR_TIMEOUT} ENVIRONMENT "${MR_ENV}")
endfunction()
