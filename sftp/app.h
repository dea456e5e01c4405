// The program sallyport-sftp: its command line, its exit status.
#pragma once

namespace sallyport::sftp {

/// 0 after a clean stop, 1 when it could not start or failed (one line on stderr or in the log says
/// why), 2 for a wrong command line.
int run_app(int argc, char** argv);

}  // namespace sallyport::sftp
