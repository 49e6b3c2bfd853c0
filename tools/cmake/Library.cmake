# aloft::aloft, what other projects link, whether they found an installed aloft or have it as a sub-project: the rooms below
# the program. Objects do not travel through a chain of libraries, so the backends come as an archive here.
get_target_property(backends_need aloft_backends INTERFACE_LINK_LIBRARIES)
add_library(aloft_backends_archive STATIC $<TARGET_OBJECTS:aloft_backends>)
target_link_libraries(aloft_backends_archive PUBLIC ${backends_need})
set_target_properties(aloft_backends_archive PROPERTIES LINKER_LANGUAGE CXX OUTPUT_NAME aloft_backends)

# The order matters to linkers: each archive before those whose functions it calls.
add_library(aloft_library INTERFACE)
target_link_libraries(aloft_library INTERFACE aloft_pipeline aloft_backends_archive aloft_kernels aloft_host)
target_compile_features(aloft_library INTERFACE $<INSTALL_INTERFACE:cxx_std_20>)  # (built here, aloft_options says it)
add_library(aloft::aloft ALIAS aloft_library)
