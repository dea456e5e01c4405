// Whose address counts when a gateway asks on a client's behalf. Pure.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "daemon/net/ip.h"

namespace sallyport::daemon {

/// The right-most entry of X-Forwarded-For (its values in the order of the header fields) that is
/// no trusted proxy: what is left of it, a client can write itself. Entries may carry a port or
/// brackets. nullopt if there is none, or if an entry that does not parse comes first.
[[nodiscard]] std::optional<IpAddress> forwarded_client(
    std::span<const std::string_view> forwarded_for, const std::vector<IpRange>& trusted);

/// "192.0.2.7", "192.0.2.7:4711", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:4711"
[[nodiscard]] std::optional<IpAddress> parse_forwarded_entry(std::string_view entry);

[[nodiscard]] bool in_any(const std::vector<IpRange>& ranges, const IpAddress& address);

}  // namespace sallyport::daemon
