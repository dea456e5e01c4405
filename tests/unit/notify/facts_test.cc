#include <gtest/gtest.h>

#include "notify/facts.h"
#include "tests/unit/notify/samples.h"

namespace sallyport::notify {
namespace {

TEST(Facts, EveryKindComesBackFromJson) {
  for (const Kind kind : all_kinds()) {
    const Facts facts = test::sample_facts(kind);
    const auto read = parse_facts(to_json(facts));
    ASSERT_TRUE(read) << to_string(kind);
    EXPECT_EQ(read->kind, kind);
    EXPECT_EQ(read->deadline, facts.deadline);
    EXPECT_EQ(read->offset, facts.offset);
    EXPECT_EQ(read->key->last_used_at, facts.key->last_used_at);
    EXPECT_EQ(read->exposure->reasons.size(), facts.exposure->reasons.size());
    EXPECT_EQ(read->file->size, facts.file->size);
    EXPECT_EQ(to_json(*read), to_json(facts));
  }
}

TEST(Facts, HostileTextComesBackByteForByte) {
  Facts facts = test::sample_facts(Kind::key_expiring);
  using namespace std::string_literals;
  facts.key->name = "a\r\nBcc: x\0\x01\x7f\"\\</script>\xf0\x9f\x94\x91\xe2\x80\xae"s;
  const auto read = parse_facts(to_json(facts));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->key->name, facts.key->name);
}

TEST(Facts, UnknownMembersAreIgnoredAndMissingOnesDefault) {
  const auto read = parse_facts(
      R"({"kind":"key_expired","role":"fallback","new":{"x":[1]},"key":{"id":"k","newer":1}})");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->role, Role::fallback);
  EXPECT_EQ(read->key->id, "k");
  EXPECT_EQ(read->deadline, std::nullopt);
  EXPECT_FALSE(read->file);
}

TEST(Facts, WhatIsNoSnapshotIsRefused) {
  for (const char* text :
       {"", "null", "[]", "{}", "{\"kind\":\"key_expired\"}", "{\"kind\":1,\"role\":2}",
        "{\"kind\":\"nothing\",\"role\":\"administrator\"}", "{\"kind\":",
        "{\"kind\":\"key_expired\",\"role\":\"administrator\",\"deadline\":\"soon\"}"})
    EXPECT_FALSE(parse_facts(text)) << text;
  EXPECT_FALSE(parse_facts(std::string(100000, '[')));
}

}  // namespace
}  // namespace sallyport::notify
