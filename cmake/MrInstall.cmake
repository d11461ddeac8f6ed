# What is installed, beside the programs that their own folders name:
#
#   include/millrace/             what a job author includes
#   lib/libmr_*.a                 millrace::api and what it links
#   lib/cmake/Millrace/           find_package(Millrace)
#   lib/millrace/samples/         the sample jobs; their names (sort, grep) would
#                                 clash with the system's in bin
#
# Headers, libraries and package files are the component "dev".
include(CMakePackageConfigHelpers)

set(MR_INSTALLED_LIBS api common engine job_flags proto_messages storage
    supervisor)
set(MR_PACKAGE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/Millrace")

foreach(lib ${MR_INSTALLED_LIBS})
  set_target_properties(mr_${lib} PROPERTIES EXPORT_NAME ${lib})
  # Libraries made of headers alone, used by our sources alone: who links ours
  # need not have them.
  get_target_property(links mr_${lib} INTERFACE_LINK_LIBRARIES)
  list(REMOVE_ITEM links "$<LINK_ONLY:CLI11::CLI11>"
       "$<LINK_ONLY:nlohmann_json::nlohmann_json>")
  set_target_properties(mr_${lib} PROPERTIES INTERFACE_LINK_LIBRARIES
                                             "${links}")
  install(
    TARGETS mr_${lib}
    EXPORT MillraceTargets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
endforeach()

install(
  DIRECTORY "${CMAKE_SOURCE_DIR}/api/include/millrace"
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  COMPONENT dev
  FILES_MATCHING
  PATTERN "*.h")
install(
  EXPORT MillraceTargets
  NAMESPACE millrace::
  DESTINATION "${MR_PACKAGE_DIR}"
  COMPONENT dev)
configure_package_config_file(
  "${CMAKE_SOURCE_DIR}/cmake/MillraceConfig.cmake.in"
  "${CMAKE_BINARY_DIR}/MillraceConfig.cmake"
  INSTALL_DESTINATION "${MR_PACKAGE_DIR}")
# Before 1.0 a minor version may change what programs rely on.
write_basic_package_version_file(
  "${CMAKE_BINARY_DIR}/MillraceConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(
  FILES "${CMAKE_BINARY_DIR}/MillraceConfig.cmake"
        "${CMAKE_BINARY_DIR}/MillraceConfigVersion.cmake"
  DESTINATION "${MR_PACKAGE_DIR}"
  COMPONENT dev)

install(TARGETS ${MILLRACE_SAMPLES} RUNTIME DESTINATION lib/millrace/samples)
