#include "daemon/net/ip.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace sallyport::daemon {
namespace {

constexpr std::size_t v4_offset = 12;
constexpr std::array<std::uint8_t, v4_offset> v4_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// The address with everything after the first `prefix` bits cleared.
std::array<std::uint8_t, 16> masked(std::array<std::uint8_t, 16> bytes, unsigned prefix) {
  for (unsigned i = 0; i < bytes.size(); ++i) {
    const unsigned first = i * 8;
    if (first + 8 <= prefix) continue;
    const unsigned kept = prefix > first ? prefix - first : 0;
    bytes[i] = static_cast<std::uint8_t>(bytes[i] & ~(0xffU >> kept));
  }
  return bytes;
}

struct Special {
  const char* range;
  std::string_view kind;
};
// What is not an address of the public Internet (RFC 6890 and its registries).
constexpr Special specials[] = {
    {"0.0.0.0/8", "unspecified"},  {"10.0.0.0/8", "private"},        {"100.64.0.0/10", "private"},
    {"127.0.0.0/8", "loopback"},   {"169.254.0.0/16", "link-local"}, {"172.16.0.0/12", "private"},
    {"192.168.0.0/16", "private"}, {"224.0.0.0/4", "multicast"},     {"240.0.0.0/4", "reserved"},
    {"::/128", "unspecified"},     {"::1/128", "loopback"},          {"fc00::/7", "private"},
    {"fe80::/10", "link-local"},   {"fec0::/10", "private"},         {"ff00::/8", "multicast"},
};

const std::vector<std::pair<IpRange, std::string_view>>& special_ranges() {
  static const auto ranges = [] {
    std::vector<std::pair<IpRange, std::string_view>> all;
    for (const Special& special : specials) {
      all.emplace_back(IpRange::from(special.range).value(), special.kind);
    }
    return all;
  }();
  return ranges;
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  // inet_pton wants a terminated string; the longest form has 45 characters.
  std::array<char, 46> buffer{};
  if (text.empty() || text.size() >= buffer.size() || text.find('\0') != text.npos) {
    return std::nullopt;
  }
  std::memcpy(buffer.data(), text.data(), text.size());
  IpAddress address;
  if (text.find(':') == text.npos) {
    std::copy(v4_prefix.begin(), v4_prefix.end(), address.bytes_.begin());
    if (::inet_pton(AF_INET, buffer.data(), address.bytes_.data() + v4_offset) != 1) {
      return std::nullopt;
    }
    return address;
  }
  if (::inet_pton(AF_INET6, buffer.data(), address.bytes_.data()) != 1) return std::nullopt;
  return address;
}

bool IpAddress::is_v4() const {
  return std::equal(v4_prefix.begin(), v4_prefix.end(), bytes_.begin());
}

std::string IpAddress::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const bool v4 = is_v4();
  ::inet_ntop(v4 ? AF_INET : AF_INET6, bytes_.data() + (v4 ? v4_offset : 0), text.data(),
              static_cast<socklen_t>(text.size()));
  return text.data();
}

IpRange::Parsed IpRange::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  const auto quoted = text.substr(0, 60);
  if (!address) {
    return {std::nullopt,
            fmt::format("'{}' is no IP address or range: write for example 192.0.2.0/24 or "
                        "2001:db8::/32",
                        quoted)};
  }
  IpRange range;
  range.address_ = *address;
  // The prefix counts in the notation that was used: ::ffff:192.0.2.0/120 is 192.0.2.0/24.
  const bool v6_notation = text.find(':') != text.npos;
  const unsigned most = v6_notation ? 128 : 32;
  unsigned prefix = most;
  if (slash != text.npos) {
    const std::string_view digits = text.substr(slash + 1);
    const char* end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, prefix);
    if (digits.empty() || error != std::errc{} || stop != end || prefix > most ||
        (digits.size() > 1 && digits.front() == '0')) {
      return {std::nullopt, fmt::format("'{}' has no prefix length of 0 to {}", quoted, most)};
    }
  }
  range.prefix_ = v6_notation ? prefix : prefix + 96;
  const auto cleared = masked(address->bytes_, range.prefix_);
  if (cleared != address->bytes_) {
    IpRange corrected = range;
    corrected.address_.bytes_ = cleared;
    return {std::nullopt, fmt::format("{} has bits set after its prefix: write {}", quoted,
                                      corrected.to_string())};
  }
  return {range, {}};
}

std::optional<IpRange> IpRange::from(std::string_view text) {
  return parse(text).range;
}

IpRange IpRange::network_of(const IpAddress& address) {
  IpRange range;
  range.prefix_ = address.is_v4() ? 128 : 64;
  range.address_.bytes_ = masked(address.bytes_, range.prefix_);
  return range;
}

IpRange::Parsed IpRange::parse_network(std::string_view text) {
  if (const auto address = IpAddress::parse(text)) return {network_of(*address), {}};
  const auto range = from(text);
  if (range && *range == network_of(range->address_)) return {range, {}};
  return {std::nullopt,
          fmt::format("'{}' is no address that can be banned: write an IPv4 address such as "
                      "192.0.2.7, or an IPv6 address or its /64 such as 2001:db8::/64; whole "
                      "ranges are for the firewall",
                      text.substr(0, 60))};
}

bool IpRange::contains(const IpAddress& address) const {
  // ::/0 is not meant for IPv4, although mapped addresses lie in it.
  if (address.is_v4() != is_v4()) return false;
  return masked(address.bytes_, prefix_) == address_.bytes_;
}

bool IpRange::contains(const IpRange& other) const {
  if (other.is_v4() != is_v4()) return false;
  return other.prefix_ >= prefix_ && contains(other.address_);
}

std::string IpRange::to_string() const {
  if (prefix_ == 128) return address_.to_string();
  if (is_v4()) return fmt::format("{}/{}", address_.to_string(), prefix_ - 96);
  return fmt::format("{}/{}", address_.to_string(), prefix_);
}

std::string_view IpRange::special_kind() const {
  for (const auto& special : special_ranges()) {
    if (overlaps(special.first)) return special.second;
  }
  return {};
}

bool any_contains(const std::vector<std::string>& ranges, std::string_view address) {
  const auto parsed = IpAddress::parse(address);
  if (!parsed) return false;
  return std::any_of(ranges.begin(), ranges.end(), [&](const std::string& text) {
    const auto range = IpRange::from(text);
    return range && range->contains(*parsed);
  });
}

}  // namespace sallyport::daemon
