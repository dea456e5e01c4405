# Runs at the end of `cmake --install`. On this machine itself (no DESTDIR) and as root: users,
# directories, a first configuration and the credential of the activity log, each only if missing.
if("$ENV{DESTDIR}" STREQUAL "")
  execute_process(COMMAND id -u OUTPUT_VARIABLE uid OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(uid EQUAL 0)
    execute_process(COMMAND ${CMAKE_CURRENT_LIST_DIR}/post-install ${CMAKE_INSTALL_PREFIX} ${sysconfdir}
                    COMMAND_ERROR_IS_FATAL ANY)
  else()
    message(STATUS "Not root: users, directories and configuration are left to you "
                   "(systemd/post-install makes them)")
  endif()
endif()
