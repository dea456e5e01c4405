# libssh before Debian's 0.10.6-0+deb12u3 has known holes on the server side (CVE-2025-5318,
# CVE-2026-59843 and others). Upstream has all the same fixes from 0.12.2 on; versions between,
# such as 0.11.4, have some of them only. Anything else is refused when configuring.

set(SALLYPORT_LIBSSH_DEBIAN "0.10.6-0+deb12u3")
set(SALLYPORT_LIBSSH_UPSTREAM "0.12.2")

# Sets OUT to TRUE when upstream version VERSION, or else Debian package version PACKAGE, is safe.
function(sallyport_libssh_is_safe out version package)
  set(${out} FALSE PARENT_SCOPE)
  if(version VERSION_GREATER_EQUAL SALLYPORT_LIBSSH_UPSTREAM)
    set(${out} TRUE PARENT_SCOPE)
  elseif(package MATCHES "^0\\.10\\.6-0\\+deb12u")
    execute_process(COMMAND dpkg --compare-versions "${package}" ge "${SALLYPORT_LIBSSH_DEBIAN}"
                    RESULT_VARIABLE older ERROR_QUIET)
    if(older EQUAL 0)
      set(${out} TRUE PARENT_SCOPE)
    endif()
  endif()
endfunction()

function(sallyport_check_libssh)
  execute_process(COMMAND dpkg-query -W -f "\${Version}" libssh-4
                  OUTPUT_VARIABLE package ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  # The test of this check presents other package versions through this variable.
  if(SALLYPORT_LIBSSH_PRETEND)
    set(package ${SALLYPORT_LIBSSH_PRETEND})
  endif()
  sallyport_libssh_is_safe(safe "${LIBSSH_VERSION}" "${package}")
  if(NOT safe)
    message(FATAL_ERROR
      "libssh ${LIBSSH_VERSION} (package libssh-4 ${package}) has known security holes in its server "
      "side. Install ${SALLYPORT_LIBSSH_DEBIAN} or later ('apt-get update && apt-get install "
      "libssh-4 libssh-dev'), or upstream ${SALLYPORT_LIBSSH_UPSTREAM} or later.")
  endif()
endfunction()
