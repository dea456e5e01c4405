# One static library a folder. A folder's own CMakeLists.txt calls sallyport_sources() for its
# library and add_executable() for its programs; sources are found by name, so a new file needs no
# line anywhere.

function(sallyport_library folder)
  add_subdirectory(${folder})
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
endfunction()
