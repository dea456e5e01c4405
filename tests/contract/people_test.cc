// Partners, administrators, tokens, and what a cluster agrees on.
#include <atomic>
#include <thread>

#include "fixture.h"
#include "samples.h"
#include "store/cluster.h"

namespace sallyport::store {
namespace {

class Partners : public OpenStoreTest {};
CONTRACT(Partners);

TEST_P(Partners, EveryFieldComesBack) {
  const Partner partner = full_partner();
  Partner plain;
  plain.name = "plain";
  write([&](Unit& unit) {
    insert_partner(unit, plain);
    insert_partner(unit, partner);
  });
  read([&](Unit& unit) {
    EXPECT_EQ(find_partner(unit, "acme"), partner);
    EXPECT_EQ(find_partner(unit, "plain"), plain);
    EXPECT_EQ(find_partner(unit, "none"), std::nullopt);
    EXPECT_EQ(list_partners(unit), (std::vector<Partner>{partner, plain}));
  });
  const auto again = [&] { write([&](Unit& unit) { insert_partner(unit, partner); }); };
  EXPECT_EQ(error_of(again).kind(), Failure::duplicate);
}

TEST_P(Partners, UpdateIsCompareAndSwap) {
  Partner partner = full_partner();
  write([&](Unit& unit) { insert_partner(unit, partner); });
  partner.active = true;
  partner.emails.clear();
  write([&](Unit& unit) {
    EXPECT_TRUE(update_partner(unit, partner));
    EXPECT_FALSE(update_partner(unit, partner));
  });
  partner.version += 1;
  EXPECT_EQ(read([](Unit& unit) { return find_partner(unit, "acme"); }), partner);
}

TEST_P(Partners, SshKeys) {
  SshKey key{"s1",        "acme", "laptop", "ssh-rsa", std::string(1000, 'A'),
             "SHA256:ab", at(1),  at(2),    at(1000),  at(500)};
  SshKey second{"s2", "acme", "", "ssh-ed25519", "BBBB", "SHA256:cd", at(3), {}, {}, {}};
  write([&](Unit& unit) {
    insert_partner(unit, full_partner());
    insert_ssh_key(unit, second);
    insert_ssh_key(unit, key);
  });
  read([&](Unit& unit) {
    EXPECT_EQ(partner_ssh_keys(unit, "acme"), (std::vector<SshKey>{key, second}));
    EXPECT_TRUE(partner_ssh_keys(unit, "other").empty());
    EXPECT_EQ(earliest_ssh_key_due(unit), at(500));
    EXPECT_EQ(due_ssh_keys(unit, at(500), 10), (std::vector<SshKey>{key}));
    EXPECT_TRUE(due_ssh_keys(unit, at(499), 10).empty());
  });
  const auto stranger = [&] {
    SshKey lost = key;
    lost.id = "s3";
    lost.partner = "nobody";
    write([&](Unit& unit) { insert_ssh_key(unit, lost); });
  };
  EXPECT_EQ(error_of(stranger).kind(), Failure::broken) << "a key needs its partner";
  key.label = "desk";
  key.next_due.reset();
  write([&](Unit& unit) {
    EXPECT_TRUE(update_ssh_key(unit, key));
    touch_ssh_key(unit, "s1", at(10));
    touch_ssh_key(unit, "s1", at(9));
    touch_ssh_key(unit, "s2", at(9));
    EXPECT_TRUE(delete_ssh_key(unit, "s2"));
    EXPECT_FALSE(delete_ssh_key(unit, "s2"));
    EXPECT_FALSE(update_ssh_key(unit, second));
  });
  key.last_used = at(10);
  EXPECT_EQ(read([](Unit& unit) { return partner_ssh_keys(unit, "acme"); }),
            (std::vector<SshKey>{key}));
  EXPECT_EQ(read([](Unit& unit) { return earliest_ssh_key_due(unit); }), std::nullopt);
}

TEST_P(Partners, PgpKeys) {
  PgpKey key{"p1",
             "acme",
             "main",
             std::string(40, 'A'),
             std::string(100'000, 'k'),
             true,
             false,
             true,
             at(1),
             at(2),
             at(1000),
             at(500),
             at(900)};
  PgpKey own{"p2", "", "ours", std::string(40, 'B'), "-----BEGIN", false, true, false, at(1), {},
             {},   {}, {}};
  write([&](Unit& unit) {
    insert_pgp_key(unit, key);
    insert_pgp_key(unit, own);
  });
  read([&](Unit& unit) {
    EXPECT_EQ(partner_pgp_keys(unit, "acme"), (std::vector<PgpKey>{key}));
    EXPECT_EQ(partner_pgp_keys(unit, ""), (std::vector<PgpKey>{own}));
    EXPECT_EQ(earliest_pgp_key_due(unit), at(500));
    EXPECT_EQ(due_pgp_keys(unit, at(500), 10), (std::vector<PgpKey>{key}));
  });
  key.revoked = false;
  write([&](Unit& unit) {
    EXPECT_TRUE(update_pgp_key(unit, key));
    touch_pgp_key(unit, "acme", key.fingerprint, at(10));
    touch_pgp_key(unit, "acme", key.fingerprint, at(9));
    touch_pgp_key(unit, "nobody", key.fingerprint, at(11));
    EXPECT_TRUE(delete_pgp_key(unit, "p2"));
    EXPECT_FALSE(delete_pgp_key(unit, "p2"));
  });
  key.last_used = at(10);
  EXPECT_EQ(read([](Unit& unit) { return partner_pgp_keys(unit, "acme"); }),
            (std::vector<PgpKey>{key}));
}

TEST_P(Partners, Bans) {
  const Ban ban{"192.0.2.1", "failures", at(1), at(100)};
  const Ban longer{"192.0.2.1", "again", at(50), at(200)};
  const Ban other{"2001:db8::/64", "failures", at(1), at(150)};
  write([&](Unit& unit) {
    put_ban(unit, ban);
    put_ban(unit, longer);
    put_ban(unit, other);
  });
  read([&](Unit& unit) {
    EXPECT_EQ(list_bans(unit, at(10)), (std::vector<Ban>{other, longer}));
    EXPECT_EQ(list_bans(unit, at(150)), (std::vector<Ban>{longer}));
    EXPECT_TRUE(list_bans(unit, at(200)).empty());
  });
  write([&](Unit& unit) {
    EXPECT_TRUE(delete_ban(unit, "192.0.2.1"));
    EXPECT_FALSE(delete_ban(unit, "192.0.2.1"));
  });
}

class Administrators : public OpenStoreTest {};
CONTRACT(Administrators);

TEST_P(Administrators, EveryFieldComesBack) {
  Administrator ada{"a1", "Ada \xF0\x9F\x94\x91", "ada@example.com", false, {"g1", "g2"}, at(5)};
  const Administrator bob{"b1", "Bob", "bob@example.com", true, {}, at(6)};
  write([&](Unit& unit) {
    insert_administrator(unit, bob);
    insert_administrator(unit, ada);
  });
  read([&](Unit& unit) {
    EXPECT_EQ(find_administrator(unit, "a1"), ada);
    EXPECT_EQ(find_administrator_by_email(unit, "bob@example.com"), bob);
    EXPECT_EQ(find_administrator_by_email(unit, "bob@example.com "), std::nullopt);
    EXPECT_EQ(find_administrator(unit, "none"), std::nullopt);
    EXPECT_EQ(list_administrators(unit), (std::vector<Administrator>{ada, bob}));
  });
  Administrator twin = bob;
  twin.id = "b2";
  const auto insert_twin = [&] { write([&](Unit& unit) { insert_administrator(unit, twin); }); };
  EXPECT_EQ(error_of(insert_twin).kind(), Failure::duplicate) << "one e-mail, one administrator";
  ada.active = true;
  write([&](Unit& unit) {
    EXPECT_TRUE(update_administrator(unit, ada));
    EXPECT_TRUE(update_administrator(unit, ada)) << "also where nothing changes";
    EXPECT_FALSE(update_administrator(unit, twin));
    EXPECT_TRUE(delete_administrator(unit, "b1"));
    EXPECT_FALSE(delete_administrator(unit, "b1"));
  });
  EXPECT_EQ(read([](Unit& unit) { return list_administrators(unit); }),
            (std::vector<Administrator>{ada}));
}

TEST_P(Administrators, Groups) {
  Group group{"g1", "Keys", {{"PLATFORM", "API_KEY", "EDIT", ""}}};
  const Group empty{"g2", "Empty", {}};
  write([&](Unit& unit) {
    put_group(unit, group);
    put_group(unit, empty);
    group.name = "Renamed";
    put_group(unit, group);
  });
  EXPECT_EQ(read([](Unit& unit) { return list_groups(unit); }), (std::vector<Group>{empty, group}));
  write([&](Unit& unit) {
    EXPECT_TRUE(delete_group(unit, "g2"));
    EXPECT_FALSE(delete_group(unit, "g2"));
  });
}

TEST_P(Administrators, Tokens) {
  Token token{"t1",  TokenKind::gateway, value_of("t1"), "a1", "nginx", at(1), at(100), at(50),
              at(40)};
  const Token other{"t2", TokenKind::access, value_of("t2"), "", "", at(2), {}, {}, {}};
  write([&](Unit& unit) {
    insert_token(unit, token);
    insert_token(unit, other);
  });
  read([&](Unit& unit) {
    EXPECT_EQ(find_token(unit, value_of("t1")), token);
    EXPECT_EQ(find_token(unit, value_of("none")), std::nullopt);
    EXPECT_EQ(list_tokens(unit), (std::vector<Token>{token, other}));
    EXPECT_EQ(due_tokens(unit, at(40), 10), (std::vector<Token>{token}));
    EXPECT_TRUE(due_tokens(unit, at(39), 10).empty());
    EXPECT_EQ(earliest_token_due(unit), at(40));
  });
  Token twin = other;
  twin.id = "t3";
  const auto insert_twin = [&] { write([&](Unit& unit) { insert_token(unit, twin); }); };
  EXPECT_EQ(error_of(insert_twin).kind(), Failure::duplicate);
  token.next_due.reset();
  write([&](Unit& unit) {
    EXPECT_TRUE(update_token(unit, token));
    EXPECT_FALSE(update_token(unit, twin));
  });
  EXPECT_EQ(read([](Unit& unit) { return find_token(unit, value_of("t1")); }), token);
  EXPECT_EQ(read([](Unit& unit) { return earliest_token_due(unit); }), std::nullopt);
}

class Cluster : public OpenStoreTest {
 protected:
  bool take(const char* node, std::int64_t now, std::int64_t until) {
    return write(
        [&](Unit& unit) { return take_lease(unit, "scheduler", node, at(now), at(until)); });
  }
};
CONTRACT(Cluster);

TEST_P(Cluster, ALeaseHasOneHolder) {
  EXPECT_TRUE(take("a", 0, 10));
  EXPECT_TRUE(take("a", 0, 10)) << "renewed with the same end";
  EXPECT_FALSE(take("b", 9, 20));
  EXPECT_TRUE(take("b", 10, 20)) << "it had run out";
  EXPECT_FALSE(take("a", 15, 30));
  EXPECT_TRUE(take("b", 15, 30));
  write([](Unit& unit) { release_lease(unit, "scheduler", "a"); });
  EXPECT_FALSE(take("a", 15, 30)) << "who does not hold it cannot release it";
  write([](Unit& unit) { release_lease(unit, "scheduler", "b"); });
  EXPECT_TRUE(take("a", 15, 30));
}

TEST_P(Cluster, ALeaseOfAClockFarAheadKeepsNobodyOut) {
  EXPECT_TRUE(take("a", 86400, 86415)) << "it is a day ahead";
  EXPECT_TRUE(take("b", 0, 15));
  EXPECT_FALSE(take("c", 1, 16));
  EXPECT_TRUE(take("a", 3600, 3615)) << "half an hour is no reason:";
  EXPECT_FALSE(take("b", 1800, 1815));
}

TEST_P(Cluster, OfManyNodesOneTakesTheLease) {
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> taken = 0;
    std::vector<std::jthread> nodes;
    for (int n = 0; n < 4; ++n) {
      nodes.emplace_back([&, n] {
        const std::string name = "node" + std::to_string(n);
        // Round 0 finds no row, the others one that has run out.
        taken += take(name.c_str(), round * 10, round * 10 + 10) ? 1 : 0;
      });
    }
    nodes.clear();
    EXPECT_EQ(taken, 1);
  }
}

TEST_P(Cluster, NodesAndSettings) {
  write([](Unit& unit) {
    put_node(unit, {"b", at(1), at(2)});
    put_node(unit, {"a", at(3), at(4)});
    put_node(unit, {"b", at(5), at(6)});
    put_setting(unit, "clock", "1");
    put_setting(unit, "clock", "2");
    put_setting(unit, "empty", "");
  });
  read([](Unit& unit) {
    EXPECT_EQ(list_nodes(unit), (std::vector<Node>{{"a", at(3), at(4)}, {"b", at(5), at(6)}}));
    EXPECT_EQ(get_setting(unit, "clock"), "2");
    EXPECT_EQ(get_setting(unit, "empty"), "");
    EXPECT_EQ(get_setting(unit, "none"), std::nullopt);
  });
}

}  // namespace
}  // namespace sallyport::store
