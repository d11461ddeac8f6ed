# Abseil, Protobuf and gRPC from their archives, which are in the same Debian
# packages as the shared libraries. A program of sixty shared libraries spends
# most of its start on finding and joining them, and a job starts a program in
# each slot. OpenSSL and the small C libraries stay shared: there is little to
# gain, and their fixes come with the system.

option(MILLRACE_STATIC "Link Abseil, Protobuf and gRPC statically (release)" OFF)

# Has the imported libraries whose names match PATTERN linked from their
# archives, where there are any.
function(mr_link_statically PATTERN)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target ${targets})
    if(NOT target MATCHES "${PATTERN}")
      continue()
    endif()
    get_target_property(configs ${target} IMPORTED_CONFIGURATIONS)
    set(locations IMPORTED_LOCATION)
    if(configs)
      list(TRANSFORM configs PREPEND IMPORTED_LOCATION_)
      list(APPEND locations ${configs})
    endif()
    foreach(property ${locations})
      get_target_property(shared ${target} ${property})
      string(REGEX REPLACE "\\.so[.0-9]*$" ".a" archive "${shared}")
      if(NOT archive STREQUAL shared AND EXISTS "${archive}")
        set_target_properties(${target} PROPERTIES ${property} "${archive}")
      endif()
    endforeach()
  endforeach()
  # Some need each other, which only shared libraries do not mind.
  string(REPLACE "<LINK_LIBRARIES>"
                 "-Wl,--start-group <LINK_LIBRARIES> -Wl,--end-group" rule
                 "${CMAKE_CXX_LINK_EXECUTABLE}")
  set(CMAKE_CXX_LINK_EXECUTABLE "${rule}" PARENT_SCOPE)
endfunction()
