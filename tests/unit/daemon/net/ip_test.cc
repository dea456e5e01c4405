#include "daemon/net/ip.h"

#include <gtest/gtest.h>

namespace sallyport::daemon {
namespace {

TEST(Ip, ParsesAndPrintsCanonically) {
  EXPECT_EQ(IpAddress::parse("192.0.2.7")->to_string(), "192.0.2.7");
  EXPECT_EQ(IpAddress::parse("2001:DB8:0:0::1")->to_string(), "2001:db8::1");
  EXPECT_EQ(IpAddress::parse("::ffff:192.0.2.7")->to_string(), "192.0.2.7");
  EXPECT_EQ(IpAddress::parse("::ffff:192.0.2.7"), IpAddress::parse("192.0.2.7"));
  for (const char* bad : {"", "1", "1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "::g", "[::1]",
                          "fe80::1%eth0", "1.2.3.4.5", "192.0.2.7\n"}) {
    EXPECT_FALSE(IpAddress::parse(bad)) << bad;
  }
  EXPECT_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0", 8)));
}

TEST(Ip, RangeTextIsCanonical) {
  EXPECT_EQ(IpRange::from("192.0.2.0/24")->to_string(), "192.0.2.0/24");
  EXPECT_EQ(IpRange::from("192.0.2.1/32")->to_string(), "192.0.2.1");
  EXPECT_EQ(IpRange::from("::ffff:192.0.2.0/120")->to_string(), "192.0.2.0/24");
  EXPECT_EQ(IpRange::from("2001:db8::/32")->to_string(), "2001:db8::/32");
  EXPECT_EQ(IpRange::from("0.0.0.0/0")->to_string(), "0.0.0.0/0");
  EXPECT_EQ(IpRange::from("::/0")->to_string(), "::/0");
}

TEST(Ip, HostBitsAreRefusedWithTheCorrectedRange) {
  const auto parsed = IpRange::parse("10.0.0.1/8");
  EXPECT_FALSE(parsed.range);
  EXPECT_EQ(parsed.problem, "10.0.0.1/8 has bits set after its prefix: write 10.0.0.0/8");
  EXPECT_EQ(IpRange::parse("2001:db8::1/33").problem,
            "2001:db8::1/33 has bits set after its prefix: write 2001:db8::/33");
  for (const char* bad : {"1.2.3.4/", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/08", "::/129", "/8",
                          "1.2.3.0/24/8", "1.2.3.0/ 24"}) {
    EXPECT_FALSE(IpRange::from(bad)) << bad;
    EXPECT_FALSE(IpRange::parse(bad).problem.empty()) << bad;
  }
}

TEST(Ip, Contains) {
  const auto range = IpRange::from("192.0.2.0/25").value();
  EXPECT_TRUE(range.contains(*IpAddress::parse("192.0.2.127")));
  EXPECT_FALSE(range.contains(*IpAddress::parse("192.0.2.128")));
  EXPECT_TRUE(range.contains(*IpAddress::parse("::ffff:192.0.2.1")));
  EXPECT_FALSE(IpRange::from("0.0.0.0/0")->contains(*IpAddress::parse("2001:db8::1")));
  EXPECT_TRUE(any_contains({"2001:db8::/32", "192.0.2.7"}, "192.0.2.7"));
  EXPECT_FALSE(any_contains({"2001:db8::/32", "192.0.2.7"}, "192.0.2.8"));
  EXPECT_FALSE(any_contains({"0.0.0.0/0", "::/0"}, "nonsense"));
  EXPECT_FALSE(IpRange::from("::/0")->contains(*IpAddress::parse("192.0.2.1")));
  EXPECT_FALSE(IpRange::from("::/0")->contains(*IpRange::from("192.0.2.1")));
}

TEST(Ip, SpecialRanges) {
  EXPECT_EQ(IpRange::from("10.1.0.0/16")->special_kind(), "private");
  EXPECT_EQ(IpRange::from("172.31.0.1")->special_kind(), "private");
  EXPECT_EQ(IpRange::from("172.32.0.1")->special_kind(), "");
  EXPECT_EQ(IpRange::from("127.0.0.1")->special_kind(), "loopback");
  EXPECT_EQ(IpRange::from("fe80::/64")->special_kind(), "link-local");
  EXPECT_EQ(IpRange::from("ff02::1")->special_kind(), "multicast");
  EXPECT_EQ(IpRange::from("0.0.0.0")->special_kind(), "unspecified");
  EXPECT_EQ(IpRange::from("8.8.8.0/24")->special_kind(), "");
  EXPECT_EQ(IpRange::from("2600::/16")->special_kind(), "");
  // A range that holds private addresses is not public.
  EXPECT_NE(IpRange::from("0.0.0.0/0")->special_kind(), "");
}

TEST(Ip, BansCountAnIpv6NetworkAsOne) {
  EXPECT_EQ(IpRange::network_of(*IpAddress::parse("192.0.2.7")).to_string(), "192.0.2.7");
  EXPECT_EQ(IpRange::network_of(*IpAddress::parse("2001:db8:1:2:3:4:5:6")).to_string(),
            "2001:db8:1:2::/64");
}

TEST(Ip, WhatIsBannedIsANetworkThatIsLookedFor) {
  const auto text = [](std::string_view of) {
    const auto parsed = IpRange::parse_network(of);
    return parsed.range ? parsed.range->to_string() : "";
  };
  EXPECT_EQ(text("192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(text("192.0.2.1/32"), "192.0.2.1");
  EXPECT_EQ(text("::ffff:192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(text("2001:db8::1"), "2001:db8::/64");
  EXPECT_EQ(text("2001:DB8:0:0::/64"), "2001:db8::/64");
  EXPECT_EQ(text("::1"), "::/64");
  for (const char* bad :
       {"127.0.0.0/8", "192.0.2.0/31", "0.0.0.0/0", "2001:db8::/32", "2001:db8::1/128",
        "2001:db8::1/64", "::/0", "::ffff:0:0/96", "192.0.2.1/", "example.com", ""}) {
    EXPECT_EQ(text(bad), "") << bad;
    const std::string problem = IpRange::parse_network(bad).problem;
    EXPECT_NE(problem.find("write an IPv4 address such as 192.0.2.7"), problem.npos) << problem;
  }
}

}  // namespace
}  // namespace sallyport::daemon
