# cmake -DEXPECT=text -P expect_message.cmake -- command...
#
# Runs a compiler. It must fail with an error that has the text on one line; if
# EXPECT is empty, it must succeed.
set(command "")
set(behind_dashes FALSE)
foreach(i RANGE ${CMAKE_ARGC})
  if(behind_dashes AND NOT "${CMAKE_ARGV${i}}" STREQUAL "")
    list(APPEND command "${CMAKE_ARGV${i}}")
  elseif("${CMAKE_ARGV${i}}" STREQUAL "--")
    set(behind_dashes TRUE)
  endif()
endforeach()

# Messages in English, whatever the user's language.
set(ENV{LC_ALL} C)
execute_process(
  COMMAND ${command}
  RESULT_VARIABLE result
  OUTPUT_VARIABLE output
  ERROR_VARIABLE output)

if("${EXPECT}" STREQUAL "")
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "should compile, but does not:\n${output}")
  endif()
  return()
endif()
if(result EQUAL 0)
  message(FATAL_ERROR "compiles, but should say: ${EXPECT}")
endif()
string(FIND "${output}" "${EXPECT}" at)
if(at EQUAL -1)
  message(FATAL_ERROR "does not say: ${EXPECT}\nbut:\n${output}")
endif()
