#include "sftp/addresses.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>

namespace sallyport::sftp {
namespace {

PeerAddress of_v6(const char* text, std::uint16_t port) {
  sockaddr_storage storage{};
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  EXPECT_EQ(::inet_pton(AF_INET6, text, &address.sin6_addr), 1) << text;
  std::memcpy(&storage, &address, sizeof(address));
  return describe_address(storage);
}

TEST(Addresses, OfVersion4CountAlone) {
  sockaddr_storage storage{};
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(4711);
  ASSERT_EQ(::inet_pton(AF_INET, "192.0.2.7", &address.sin_addr), 1);
  std::memcpy(&storage, &address, sizeof(address));
  const PeerAddress peer = describe_address(storage);
  EXPECT_EQ(peer.text, "192.0.2.7");
  EXPECT_EQ(peer.network, "192.0.2.7");
  EXPECT_EQ(peer.port, 4711);
}

TEST(Addresses, OfVersion6CountByTheirSixtyFourBits) {
  const PeerAddress peer = of_v6("2001:db8:1:2:3:4:5:6", 22);
  EXPECT_EQ(peer.text, "2001:db8:1:2:3:4:5:6");
  EXPECT_EQ(peer.network, "2001:db8:1:2::/64");
  EXPECT_EQ(peer.network, of_v6("2001:db8:1:2:ffff::1", 23).network);
  EXPECT_NE(peer.network, of_v6("2001:db8:1:3::1", 23).network);
  EXPECT_EQ(of_v6("::1", 22).network, "::/64");
}

TEST(Addresses, MappedOnesAreOfVersion4) {
  const PeerAddress peer = of_v6("::ffff:192.0.2.7", 22);
  EXPECT_EQ(peer.text, "192.0.2.7");
  EXPECT_EQ(peer.network, "192.0.2.7");
}

}  // namespace
}  // namespace sallyport::sftp
