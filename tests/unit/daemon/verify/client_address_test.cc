#include "daemon/verify/client_address.h"

#include <gtest/gtest.h>

namespace sallyport::daemon {
namespace {

std::string client(std::vector<std::string_view> forwarded,
                   const std::vector<std::string>& trusted = {}) {
  std::vector<IpRange> ranges;
  for (const auto& text : trusted) ranges.push_back(*IpRange::from(text));
  const auto address = forwarded_client(forwarded, ranges);
  return address ? address->to_string() : "none";
}

TEST(ClientAddress, TakesTheRightMostUntrustedEntry) {
  EXPECT_EQ(client({"198.51.100.7"}), "198.51.100.7");
  EXPECT_EQ(client({"203.0.113.1, 198.51.100.7"}), "198.51.100.7")
      << "the left one is the client's";
  EXPECT_EQ(client({"203.0.113.1, 198.51.100.7, 10.0.0.2"}, {"10.0.0.0/8"}), "198.51.100.7");
  EXPECT_EQ(client({"203.0.113.1", "198.51.100.7,10.0.0.2"}, {"10.0.0.0/8"}), "198.51.100.7");
  EXPECT_EQ(client({"203.0.113.1,198.51.100.7", "10.0.0.2"}, {"10.0.0.0/8"}), "198.51.100.7");
}

TEST(ClientAddress, ThereIsNoneWhereNothingCanBeTold) {
  EXPECT_EQ(client({}), "none");
  EXPECT_EQ(client({""}), "none");
  EXPECT_EQ(client({"10.0.0.1,10.0.0.2"}, {"10.0.0.0/8"}), "none");
  EXPECT_EQ(client({"198.51.100.7, unknown"}), "none");
  EXPECT_EQ(client({"198.51.100.7,"}), "none");
  EXPECT_EQ(client({"198.51.100.7", ""}), "none");
  EXPECT_EQ(client({"198.51.100.7, _hidden, 10.0.0.1"}, {"10.0.0.0/8"}), "none");
}

TEST(ClientAddress, ReadsPortsBracketsAndMappedAddresses) {
  EXPECT_EQ(client({"198.51.100.7:4711"}), "198.51.100.7");
  EXPECT_EQ(client({"[2001:db8::1]:4711"}), "2001:db8::1");
  EXPECT_EQ(client({"[2001:db8::1]"}), "2001:db8::1");
  EXPECT_EQ(client({"2001:DB8:0::1"}), "2001:db8::1");
  EXPECT_EQ(client({"::ffff:198.51.100.7"}), "198.51.100.7");
  EXPECT_EQ(client({"\t198.51.100.7 "}), "198.51.100.7");
  for (const char* entry :
       {"198.51.100.7:", "198.51.100.7:http", "198.51.100.7:123456", "[198.51.100.7]",
        "[2001:db8::1", "[2001:db8::1]x", "[2001:db8::1]:", "198.51.100", "1.2.3.4.5", "a b",
        "198.51.100.7 203.0.113.1", "\"198.51.100.7\"", "for=198.51.100.7", "fe80::1%eth0"}) {
    EXPECT_EQ(client({entry}), "none") << entry;
  }
}

}  // namespace
}  // namespace sallyport::daemon
