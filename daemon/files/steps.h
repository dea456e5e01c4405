// What all steps of the pipeline share: how they end, and how one that cannot be done now is noted.
//
// Thread-safe. Failures are the store's and Overtaken.
#pragma once

#include <string>
#include <string_view>

#include "daemon/files/context.h"
#include "store/files.h"

namespace sallyport::daemon {

enum class StepResult {
  done,         ///< the row is in its next state
  failed,       ///< the row is in state failed, the original is parked
  retry,        ///< recorded: is tried again when next_due comes
  not_its_turn  ///< an earlier file of the line is not published yet
};

/// A step could not be done for a reason of ours: notes why and when it is tried again (1 s,
/// doubled up to 1 min). Returns StepResult::retry.
StepResult retry_later(const FileContext& context, store::File& file, std::string_view reason_code,
                       const std::string& sentence);
/// The row as it is when its step went well.
void clear_retry(store::File& file);
/// True once a file that is being retried no longer holds up later ones of its line.
[[nodiscard]] bool has_lost_its_place(const FileContext& context, const store::File& file);

}  // namespace sallyport::daemon
