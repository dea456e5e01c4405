// The acceptance rule: from what a file is, what gpg said about it and what is asked for, to a
// verdict. Pure; everything that reads or runs something is elsewhere.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/instant.h"
#include "base/process.h"
#include "pgp/pgp.h"
#include "pgp/status.h"

namespace sallyport::pgp {

/// How one run of gpg ended.
struct GpgRun {
  base::ProcessResult process;
  GpgStatus status;
  std::string log;  ///< what it told people
  std::uint64_t output_bytes = 0;
  bool status_overflow = false;  ///< more status lines than any honest message causes
};

/// Reasons that need no gpg: by the outer form of the file and the policies.
/// `own_key_ids`: of all subkeys of ours; a message that names none of them is
/// not for us, or hides for whom it is.
[[nodiscard]] Reason judge_form(const Inspection& inspection, const Acceptance& acceptance,
                                const std::vector<std::string>& own_key_ids);

/// Reasons that any run of gpg can have, whatever it was for: limits, a full disk, a death.
[[nodiscard]] Reason judge_run(const GpgRun& run, std::uint64_t output_limit_bytes);

/// The rest, for a message whose form was good and whose run ended by itself. Fills in the
/// signatures and the recipients too.
void judge_message(Verdict& verdict, const GpgRun& run, const Acceptance& acceptance,
                   const std::vector<Key>& own_keys, base::Instant now);

/// What gpg told people, printable and at most 500 bytes.
[[nodiscard]] std::string printable_log(std::string_view log);

}  // namespace sallyport::pgp
