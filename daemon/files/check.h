// Holds the journal and the disk against each other (spec/gateway.md 5, `sallyportctl files
// check`).
//
// settle(): at the start, what an interruption left half done and the rows alone do not tell: files
// in a spool whose row says that they should have left it are offered to the pipeline, sources of
// placed files and markers of delivered plaintext are removed. check(): everything, also what lies
// in a partner's archive and outgoing folders without a row, changing nothing. What neither can
// explain is reported, never guessed at, and raised as health ("files.unexplained").
//
// Threads: any. Failures: store::Error, base::SystemError.
#pragma once

#include <string>
#include <vector>

#include "daemon/files/context.h"
#include "daemon/files/journal.h"

namespace sallyport::daemon {

struct Finding {
  std::string kind;  ///< "orphan", "missing", "leftover", "wrong_size", "unreadable"
  std::string path;
  std::string file_id;  ///< empty if no row belongs to it
  std::string sentence;
};

struct CheckReport {
  std::vector<Finding> findings;
  std::uint64_t rows = 0;   ///< looked at
  std::uint64_t files = 0;  ///< looked at
};

class Check {
 public:
  explicit Check(const FileContext& context) : context_(context) {}
  void settle(const FileSink& offer);
  [[nodiscard]] CheckReport check();

 private:
  void look_at_spool(const std::string& partner, const FileSink& offer, CheckReport& report);
  void look_at_work(CheckReport& report, bool may_remove);
  void look_at_staging(CheckReport& report, bool may_remove);
  void look_at_tree(const std::string& partner, const Directory& folder, const std::string& path,
                    unsigned depth, CheckReport& report);
  void look_at_rows(CheckReport& report);
  void raise(const CheckReport& report);

  FileContext context_;
};

}  // namespace sallyport::daemon
