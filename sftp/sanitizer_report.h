// Where a session of a sanitized build (cmake/sanitized-tests) leaves what is found in it: once it
// is in its sandbox it can open no file, and what was found was lost. Does nothing in what is
// shipped.
#pragma once

namespace sallyport::sftp {

/// Opens the file that $SALLYPORT_SESSION_REPORTS names, if it names one. To be called in the
/// session before its sandbox. Throws base::SystemError.
void open_sanitizer_report();

}  // namespace sallyport::sftp
