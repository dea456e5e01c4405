// IP addresses and ranges (CIDR), IPv4 and IPv6. An IPv4-mapped IPv6 address is the IPv4 address.
//
// Pure values, thread-safe. What does not parse is nullopt, or a sentence that says what to write
// instead.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::daemon {

class IpAddress {
 public:
  /// No zone ("%eth0"), no brackets, no leading zeros in IPv4 parts.
  [[nodiscard]] static std::optional<IpAddress> parse(std::string_view text);

  [[nodiscard]] bool is_v4() const;
  /// RFC 5952: "192.0.2.7", "2001:db8::1".
  [[nodiscard]] std::string to_string() const;
  /// 16 bytes; IPv4 as ::ffff:a.b.c.d.
  [[nodiscard]] const std::array<std::uint8_t, 16>& bytes() const { return bytes_; }

  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  friend class IpRange;
  std::array<std::uint8_t, 16> bytes_{};
};

class IpRange {
 public:
  struct Parsed;
  /// An address or ADDRESS/PREFIX. Bits after the prefix are refused.
  [[nodiscard]] static Parsed parse(std::string_view text);
  /// nullopt if parse() has a problem.
  [[nodiscard]] static std::optional<IpRange> from(std::string_view text);
  /// What failures and bans are counted for: the IPv4 address, or the IPv6 /64.
  [[nodiscard]] static IpRange network_of(const IpAddress& address);
  /// The network of an address, or exactly such a network: "192.0.2.7", "192.0.2.7/32",
  /// "2001:db8::1", "2001:db8::/64". Other ranges have a problem: no ban of them would be found.
  [[nodiscard]] static Parsed parse_network(std::string_view text);

  [[nodiscard]] bool contains(const IpAddress& address) const;
  [[nodiscard]] bool contains(const IpRange& other) const;
  [[nodiscard]] bool overlaps(const IpRange& other) const {
    return contains(other) || other.contains(*this);
  }
  [[nodiscard]] bool is_v4() const { return address_.is_v4() && prefix_ >= 96; }
  /// Canonical text: a single address has no prefix.
  [[nodiscard]] std::string to_string() const;
  /// "private", "loopback", "link-local", "multicast", "unspecified" or "reserved" if any address
  /// of the range is; empty for a public range.
  [[nodiscard]] std::string_view special_kind() const;

  friend auto operator<=>(const IpRange&, const IpRange&) = default;

 private:
  IpAddress address_;
  unsigned prefix_ = 128;  ///< of 128: IPv4 counts from 96
};

struct IpRange::Parsed {
  std::optional<IpRange> range;
  /// Why not: "10.0.0.1/8 has bits set after its prefix: write 10.0.0.0/8".
  std::string problem;
};

/// False for an address that does not parse.
[[nodiscard]] bool any_contains(const std::vector<std::string>& ranges, std::string_view address);

}  // namespace sallyport::daemon
