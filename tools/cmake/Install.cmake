# What `cmake --install` puts where: the program, the rooms below it as static libraries with their headers, and two
# descriptions of those, for find_package(aloft) and for pkg-config. Both may be moved with the prefix.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/aloft)

install(TARGETS aloft RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/CHANGELOG.md
  DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)

# Headers keep the paths by which they include each other. The backends' own stay here: kernels/ops.hpp is the contract.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/host ${PROJECT_SOURCE_DIR}/kernels ${PROJECT_SOURCE_DIR}/pipeline
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/aloft COMPONENT development FILES_MATCHING PATTERN "*.hpp"
  PATTERN "kernels/cpu" EXCLUDE PATTERN "kernels/cuda" EXCLUDE PATTERN "host/cuda_*" EXCLUDE)

foreach(room host kernels pipeline)
  set_target_properties(aloft_${room} PROPERTIES EXPORT_NAME ${room})
endforeach()
set_target_properties(aloft_backends_archive PROPERTIES EXPORT_NAME backends)
set_target_properties(aloft_library PROPERTIES EXPORT_NAME aloft)
install(TARGETS aloft_library aloft_pipeline aloft_backends_archive aloft_kernels aloft_host EXPORT aloftTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/aloft)

# ---- find_package(aloft)
install(EXPORT aloftTargets NAMESPACE aloft:: DESTINATION ${package_folder} COMPONENT development)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/aloftConfig.cmake.in ${PROJECT_BINARY_DIR}/generated/aloftConfig.cmake
  INSTALL_DESTINATION ${package_folder} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/generated/aloftConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/generated/aloftConfig.cmake ${PROJECT_BINARY_DIR}/generated/aloftConfigVersion.cmake
  DESTINATION ${package_folder} COMPONENT development)

# ---- pkg-config
# The prefix is found from the file's own place, since `cmake --install --prefix` may name another one than was configured.
set(pc_prefix ${CMAKE_INSTALL_PREFIX})
if(NOT IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
  file(RELATIVE_PATH pc_prefix /x/${CMAKE_INSTALL_LIBDIR}/pkgconfig /x)
  string(REGEX REPLACE "/$" "" pc_prefix "\${pcfiledir}/${pc_prefix}")
endif()
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_LIBDIR BASE_DIRECTORY "\${prefix}" OUTPUT_VARIABLE pc_libdir)
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_INCLUDEDIR BASE_DIRECTORY "\${prefix}" OUTPUT_VARIABLE pc_includedir)
list(JOIN pkgconfig_modules " " pc_modules)
set(pc_cuda_libraries "")
if(ALOFT_CUDA)
  set(pc_cuda_libraries "-L${CUDAToolkit_LIBRARY_DIR} -lcudart_static -lrt ")
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/aloft.pc.in ${PROJECT_BINARY_DIR}/generated/aloft.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/generated/aloft.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
