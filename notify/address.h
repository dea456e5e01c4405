// The one check of mail addresses, for configuration, contacts and recipients alike. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sallyport::notify {

/// An ASCII address that every mail server can carry: dot-atom local part (at most 64), domain of
/// letter-digit-hyphen labels (a single label such as localhost is fine), at most 254 in all. No
/// quoted local parts, no address literals, nothing that needs SMTPUTF8.
[[nodiscard]] bool is_mail_address(std::string_view text) noexcept;

/// Why `text` is not one, as a sentence that names the offending part; nullopt if it is one.
[[nodiscard]] std::optional<std::string> mail_address_problem(std::string_view text);

}  // namespace sallyport::notify
