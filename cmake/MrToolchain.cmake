# Compiler and linker settings that every target of the tree shares. Flags are
# put on an interface target, never on directories, so that what a target is
# compiled with can be read from its links.

option(MILLRACE_PCH "Use precompiled headers (off where missing includes must show)" ON)
option(MILLRACE_UNITY "Compile some ten sources of a target as one: a third of the time" ON)
option(MILLRACE_FUZZ "Build the libFuzzer targets (Clang only)" OFF)
set(MILLRACE_SANITIZE "" CACHE STRING "Value for -fsanitize=, empty for none")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE_PROGRAM})
endif()

set_property(GLOBAL PROPERTY JOB_POOLS link_pool=1)
set(CMAKE_JOB_POOL_LINK link_pool)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET default)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

add_library(mr_flags INTERFACE)
target_compile_features(mr_flags INTERFACE cxx_std_20)
target_compile_options(mr_flags INTERFACE -fno-omit-frame-pointer)

add_library(mr_warnings INTERFACE)
target_compile_options(mr_warnings INTERFACE -Wall -Wextra -Wshadow -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 sees overlaps in libstdc++'s own string concatenation (PR 105651).
  target_compile_options(mr_warnings INTERFACE -Wno-restrict)
  # With -O3 it takes the unused alternatives of std::optional and std::variant
  # for values that are read (PR 80635). Clang and the sanitizers look for real
  # ones.
  target_compile_options(mr_warnings INTERFACE -Wno-maybe-uninitialized)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(mr_warnings INTERFACE -Wthread-safety)
endif()

if(MILLRACE_SANITIZE)
  # What protoc generates is not what the address sanitizer is to look at, and
  # takes longer to compile with it than all that it is to look at; it has no
  # warnings of ours either. Fuzzers follow it.
  set(sanitized mr_flags)
  if(MILLRACE_SANITIZE MATCHES "address" AND NOT MILLRACE_FUZZ)
    set(sanitized mr_warnings)
  endif()
  target_compile_options(${sanitized} INTERFACE
    -fsanitize=${MILLRACE_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(mr_flags INTERFACE -fsanitize=${MILLRACE_SANITIZE})
endif()

# A job's program is hashed for each submit, and copied to the masters and to each
# worker: line numbers are two thirds of it unless they are compressed.
target_link_options(mr_flags INTERFACE
  "$<$<CONFIG:Release>:-Wl,--compress-debug-sections=zlib>")

# A faster linker where there is one; never required. mold and lld both lay out
# Debian's static Abseil archives without trouble.
include(CheckLinkerFlag)
foreach(linker mold lld)
  check_linker_flag(CXX "-fuse-ld=${linker}" MR_HAVE_LD_${linker})
  if(MR_HAVE_LD_${linker})
    target_link_options(mr_flags INTERFACE "-fuse-ld=${linker}")
    break()
  endif()
endforeach()
