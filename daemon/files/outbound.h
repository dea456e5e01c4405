// The steps of an outbound file (spec/gateway.md 6):
//
//   take() -> queued --seal--> encrypted --place--> available -> (downloaded -> collected)
//                \-- no usable key of the partner --> held, tried again when keys change
//
// The source is moved out of the application's sight first (outbound/.work/<id>, mode 0700), so
// that what is sealed cannot change or be taken twice. The sealed message waits as
// <partner>/sending/<id> and is placed under /Outgoing by one rename; its absence there, once the
// row says encrypted, means that it was placed. The source is removed after that is recorded.
//
// Threads: different files in parallel; one file belongs to one caller at a time. Failures: as
// daemon/files/inbound.h.
#pragma once

#include <optional>
#include <string>

#include "daemon/files/context.h"
#include "daemon/files/inbound.h"
#include "daemon/files/journal.h"
#include "store/files.h"

namespace sallyport::daemon {

class Outbound {
 public:
  explicit Outbound(const FileContext& context) : context_(context) {}

  /// Journals a complete file of outbound/<partner>/<object>/ and takes it away from there.
  /// nullopt if it is gone.
  [[nodiscard]] std::optional<store::File> take(const std::string& partner,
                                                const std::string& object, const std::string& name);
  /// One step further, from queued, held or encrypted.
  [[nodiscard]] StepResult advance(store::File& file);

  /// <outbound>/<partner>[/<object>], made if it is missing.
  [[nodiscard]] Directory source_directory(std::string_view partner, std::string_view object) const;

 private:
  StepResult seal(store::File& file);
  StepResult place(store::File& file);
  StepResult hold(store::File& file, pgp::Reason reason);
  [[nodiscard]] Directory work_directory() const;
  [[nodiscard]] Directory sending_directory(const std::string& partner) const;
  /// The file in the work directory, moved there first where an interruption left it outside.
  [[nodiscard]] bool bring_to_work(const store::File& file, const Directory& work) const;

  FileContext context_;
};

/// Whether somebody has the regular file open for writing, as far as the system tells us.
enum class Writers { none, some, unknown };
[[nodiscard]] Writers writers_of(int fd);

}  // namespace sallyport::daemon
