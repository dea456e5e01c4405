// What a session that ended without saying goodbye left in staging/, brought back as partials.
//
// A session keeps its unfinished uploads as staging/<session id>.<n>, and beside them the list
// staging/<session id>.names of where each was going. Whoever cleans up after it (the session
// itself when its peer hangs up; the daemon when the session's broker connection ends, and at
// start) calls recover_staging(): each file becomes a partial under its name in tree/, so that the
// partner can resume it; where a complete file has that name, it stays in staging/ as <session
// id>.<n>, unseen by the partner, and its line stays in the list.
//
// Safe to call again, and from any process; not while the session still runs. Throws
// base::SystemError when staging/ cannot be read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::sftp {

struct LeftUpload {
  std::string path;     ///< "/Incoming/Invoices/a.pdf"; empty if the list does not name it
  std::string staging;  ///< the name in staging/, if it is still there; else it is shown at `path`
  std::uint64_t bytes = 0;
  std::int64_t modified = 0;
};

/// `partner_directory` holds tree/ and staging/. `session_id` empty: of all sessions.
[[nodiscard]] std::vector<LeftUpload> recover_staging(int partner_directory,
                                                      std::string_view session_id);

}  // namespace sallyport::sftp
