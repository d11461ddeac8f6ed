# See CMakeLists.txt. Stops at the first thing that is wrong.
set(ENV{LC_ALL} C)
set(prefix "${WORK_DIR}/prefix")
file(REMOVE_RECURSE "${WORK_DIR}")
file(MAKE_DIRECTORY "${WORK_DIR}/input")

# run(<output variable> command...)
function(run variable)
  execute_process(
    COMMAND ${ARGN}
    RESULT_VARIABLE result
    OUTPUT_VARIABLE output
    ERROR_VARIABLE error
    WORKING_DIRECTORY "${WORK_DIR}")
  if(NOT result EQUAL 0)
    string(JOIN " " command ${ARGN})
    message(FATAL_ERROR "${command}\nended with ${result}:\n${output}${error}")
  endif()
  set(${variable} "${output}" PARENT_SCOPE)
endfunction()

# expect(<what> <actual> <expected>)
function(expect what actual expected)
  if(NOT "${actual}" STREQUAL "${expected}")
    message(FATAL_ERROR "${what} is\n${actual}\nand should be\n${expected}")
  endif()
endfunction()

run(out "${CMAKE_COMMAND}" --install "${BUILD_DIR}" --component dev --prefix
    "${prefix}")

# The package works wherever it is moved to: no path of this tree is in it.
file(GLOB package_files "${prefix}/${LIBDIR}/cmake/Millrace/*.cmake")
list(LENGTH package_files count)
if(count LESS 4)
  message(FATAL_ERROR "the package has only: ${package_files}")
endif()
foreach(file ${package_files})
  file(READ "${file}" text)
  foreach(path "${SOURCE_DIR}" "${BUILD_DIR}" "${prefix}")
    string(FIND "${text}" "${path}" at)
    if(NOT at EQUAL -1)
      message(FATAL_ERROR "${file} names ${path}")
    endif()
  endforeach()
endforeach()
file(RENAME "${prefix}" "${WORK_DIR}/moved")
set(prefix "${WORK_DIR}/moved")

# Every header can be included first, and none brings in what jobs are promised
# not to need.
file(GLOB headers RELATIVE "${prefix}/include" "${prefix}/include/millrace/*.h")
foreach(header ${headers})
  set(source "${WORK_DIR}/one_header.cc")
  file(WRITE "${source}" "#include \"${header}\"\n")
  run(out "${COMPILER}" -std=c++20 -fsyntax-only -Wall -Wextra -Wshadow -Werror
      "-I${prefix}/include" -MD -MF "${WORK_DIR}/one_header.d" "${source}")
  file(READ "${WORK_DIR}/one_header.d" files)
  if(files MATCHES "/(glog|google/protobuf|grpcpp|CLI|nlohmann|engine|storage)/")
    message(FATAL_ERROR "${header} includes ${CMAKE_MATCH_1}")
  endif()
  if(NOT files MATCHES "${header}")
    message(FATAL_ERROR "the compiler does not list what ${header} includes")
  endif()
endforeach()

# A job outside of the tree, its unit test, and a run.
run(out "${CMAKE_COMMAND}" -S "${PROJECT_DIR}" -B build -G Ninja
    "-DCMAKE_PREFIX_PATH=${prefix}" "-DCMAKE_CXX_COMPILER=${COMPILER}"
    -DCMAKE_BUILD_TYPE=)
run(out "${CMAKE_COMMAND}" --build build)
run(out build/line_lengths_test)
file(WRITE "${WORK_DIR}/input/a.txt" "one\ntwo\nthree\n")
file(WRITE "${WORK_DIR}/input/b.txt" "four\nsix")
run(out build/line_lengths --input=input --output=output --quiet)
file(READ "${WORK_DIR}/output/part-00000" text)
expect("the output" "${text}" "3\t3\n4\t1\n5\t1\n")
