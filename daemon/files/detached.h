// NAME and NAME.sig as a pair (policy partner.detached_signatures): a signature in a file of its
// own, which may come before or after the file that it signs.
//
// It matters where a signature is required: there a file without one waits for its NAME.sig for
// partner.detached_wait, and the other way round. Elsewhere NAME.sig is a file like any other.
// Thread-safe. Failures are the store's and the file system's.
#pragma once

#include <optional>
#include <string>

#include "daemon/files/context.h"
#include "pgp/pgp.h"
#include "store/files.h"

namespace sallyport::daemon {

/// "a.csv" for "a.csv.sig"; nullopt for a name that is no signature's.
[[nodiscard]] std::optional<std::string> name_of_signed(std::string_view signature_name);

/// The latest file of the same partner and object with that name that was received and not
/// processed yet.
[[nodiscard]] std::optional<store::File> find_waiting(const FileContext& context,
                                                      const store::File& beside,
                                                      const std::string& name);

struct DetachedVerdict {
  pgp::Verdict verdict;
  store::File signature;  ///< the row of NAME.sig
  /// The copy of the original that was verified, a file without a name. A session that was taken
  /// over could still change the original, so this is what is to be delivered.
  base::UniqueFd data;
};
/// What NAME.sig says about the file; nullopt if there is none (yet).
[[nodiscard]] std::optional<DetachedVerdict> verify_by_waiting_signature(
    const FileContext& context, const store::File& file, const pgp::Acceptance& acceptance);

}  // namespace sallyport::daemon
