# One static library a folder. A folder's own CMakeLists.txt calls sallyport_sources() for its
# library and add_executable() for its programs; sources are found by name, so a new file needs no
# line anywhere.

function(sallyport_library folder)
  add_subdirectory(${folder})
endfunction()

# sallyport_precompile(TARGET HEADERS...): what most files include, and HEADERS, parsed once a target
# instead of once a file, where that is worth it. Not for headers that define objects: every file
# would make them. Every file still includes what it uses: the preset clang builds without this and
# finds what is missing.
function(sallyport_precompile target)
  get_target_property(sources ${target} SOURCES)
  list(LENGTH sources count)
  if(count LESS 10)
    return()
  endif()
  target_precompile_headers(${target} PRIVATE
    <algorithm> <array> <atomic> <chrono> <condition_variable> <cstdint> <functional> <map> <memory>
    <mutex> <optional> <set> <string> <string_view> <thread> <utility> <variant> <vector>
    <fmt/format.h> ${ARGN})
  # GCC 12 forgets that such a header is a system's, and warns of the inside of std::string where its
  # optimiser looks at bounds (its bug 105651, which cries wolf). The presets clang and asan look.
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds
    -Wno-stringop-overread -Wno-stringop-overflow>)
endfunction()

# sallyport_sources(NAME): the library sallyport_NAME of every .cc below this
# folder, without the mains (*_main.cc).
function(sallyport_sources name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  list(FILTER sources EXCLUDE REGEX "_main\\.cc$")
  if(NOT sources)
    file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/none.cc "// This folder has no sources.\n")
    set(sources ${CMAKE_CURRENT_BINARY_DIR}/none.cc)
  endif()
  add_library(sallyport_${name} STATIC ${sources})
  target_include_directories(sallyport_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(sallyport_${name} PRIVATE sallyport_warnings)
  sallyport_precompile(sallyport_${name})
endfunction()
