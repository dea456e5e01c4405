#include "store/notices.h"

#include <atomic>
#include <set>
#include <thread>

#include "fixture.h"
#include "samples.h"

namespace sallyport::store {
namespace {

class Notices : public OpenStoreTest {
 protected:
  bool insert(const Notice& notice) {
    return write([&](Unit& unit) { return insert_notice(unit, notice); });
  }
  bool update(const Notice& notice) {
    return write([&](Unit& unit) { return update_notice(unit, notice); });
  }
  std::optional<Notice> find(const std::string& id) {
    return read([&](Unit& unit) { return find_notice(unit, id); });
  }
};
CONTRACT(Notices);

TEST(NoticeId, DependsOnEveryPartOfTheIdentityAndOnNothingElse) {
  const Notice notice = full_notice();
  EXPECT_EQ(notice.id.size(), 64U);
  std::set<std::string> ids{notice.id};
  const auto with = [&](auto change) {
    Notice other = notice;
    change(other);
    EXPECT_TRUE(ids.insert(notice_id(other)).second);
  };
  with([](Notice& other) { other.subject_type = "file"; });
  with([](Notice& other) { other.subject_id = "key2"; });
  with([](Notice& other) { other.kind = "exposure"; });
  with([](Notice& other) { other.cycle += 1; });
  with([](Notice& other) { other.offset += 1; });
  with([](Notice& other) { other.recipient = "other@example.com"; });
  with([](Notice& other) { other.channel = Channel::webhook; });
  // Text that moves from one field to the next is another identity.
  with([](Notice& other) {
    other.subject_type = "api_keyk";
    other.subject_id = "ey1";
  });
  Notice same = notice;
  same.facts = "other";
  same.state = NoticeState::sent;
  same.attempts = 9;
  EXPECT_EQ(notice_id(same), notice.id);
}

TEST_P(Notices, EveryFieldComesBack) {
  Notice notice = full_notice();
  EXPECT_TRUE(insert(notice));
  EXPECT_EQ(find(notice.id), notice);
  notice.state = NoticeState::claimed;
  notice.finished = at(5);
  notice.claimed_by = "node1";
  notice.claimed_until = at(6);
  notice.first_attempt = at(7);
  notice.digest_id = "digest1";
  notice.answer = "250 ok";
  EXPECT_TRUE(update(notice));
  notice.version += 1;
  EXPECT_EQ(find(notice.id), notice);
  EXPECT_EQ(find("none"), std::nullopt);
}

TEST_P(Notices, HostileTextComesBackByteForByte) {
  for (const std::string& text : hostile_texts()) {
    Notice notice = full_notice();
    notice.answer = text;
    notice.facts = text;
    if (text.size() <= 512) {
      notice.recipient = text;
      notice.subject_id = text;
    } else {
      notice.offset = static_cast<std::int64_t>(text.size());
    }
    notice.id = notice_id(notice);
    EXPECT_TRUE(insert(notice));
    EXPECT_EQ(find(notice.id), notice);
  }
}

TEST_P(Notices, TheSameIdentityExistsOnce) {
  Notice notice = full_notice();
  EXPECT_TRUE(insert(notice));
  notice.answer = "another";
  // In one unit with other work, which goes on.
  write([&](Unit& unit) {
    EXPECT_FALSE(insert_notice(unit, notice));
    EXPECT_TRUE(insert_notice(unit, full_notice("key2")));
  });
  EXPECT_EQ(find(notice.id)->answer, "451 later");
  EXPECT_TRUE(find(full_notice("key2").id).has_value());
}

TEST_P(Notices, OfManyThreadsOneInserts) {
  std::atomic<int> inserted = 0;
  std::vector<std::jthread> workers;
  for (int t = 0; t < 4; ++t) {
    workers.emplace_back([&] {
      for (int i = 0; i < 20; ++i) inserted += insert(full_notice("key1", i)) ? 1 : 0;
    });
  }
  workers.clear();
  EXPECT_EQ(inserted, 20);
}

TEST_P(Notices, OfManyThreadsOneClaims) {
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(insert(full_notice("key1", i)));
  const auto rows = read([](Unit& unit) { return due_notices(unit, at(2'000'000'000), 100); });
  ASSERT_EQ(rows.size(), 20U);
  std::atomic<int> claimed = 0;
  std::vector<std::jthread> workers;
  for (int t = 0; t < 4; ++t) {
    workers.emplace_back([&] {
      for (Notice notice : rows) {
        notice.state = NoticeState::claimed;
        notice.claimed_until = at(2'000'000'100);
        claimed += update(notice) ? 1 : 0;
      }
    });
  }
  workers.clear();
  EXPECT_EQ(claimed, 20);
}

TEST_P(Notices, DueOnesArePendingOrClaimedTooLong) {
  const auto with = [&](const char* subject, NoticeState state, std::int64_t next,
                        std::optional<std::int64_t> until) {
    Notice notice = full_notice(subject);
    notice.state = state;
    notice.next_attempt = at(next);
    if (until) notice.claimed_until = at(*until);
    EXPECT_TRUE(insert(notice));
  };
  EXPECT_EQ(read([](Unit& unit) { return earliest_notice(unit); }), std::nullopt);
  with("later", NoticeState::pending, 300, {});
  with("first", NoticeState::pending, 100, {});
  with("claimed", NoticeState::claimed, 50, 200);
  for (const NoticeState state :
       {NoticeState::sent, NoticeState::failed, NoticeState::not_applicable,
        NoticeState::superseded, NoticeState::cancelled}) {
    with(("over" + std::to_string(static_cast<int>(state))).c_str(), state, 1, 1);
  }
  read([](Unit& unit) {
    EXPECT_EQ(earliest_notice(unit), at(100));
    const auto subjects = [&](std::int64_t now, unsigned limit) {
      std::string text;
      for (const Notice& notice : due_notices(unit, at(now), limit))
        text += notice.subject_id + " ";
      return text;
    };
    EXPECT_EQ(subjects(99, 10), "");
    EXPECT_EQ(subjects(100, 10), "first ");
    EXPECT_EQ(subjects(200, 10), "first ") << "the claim holds through its last second";
    EXPECT_EQ(subjects(201, 10), "first claimed ");
    EXPECT_EQ(subjects(300, 10), "first claimed later ");
    EXPECT_EQ(subjects(300, 1), "first ");
  });
}

TEST_P(Notices, ThoseOfASubject) {
  EXPECT_TRUE(insert(full_notice("key1", 7)));
  EXPECT_TRUE(insert(full_notice("key1", 2)));
  EXPECT_TRUE(insert(full_notice("key2", 7)));
  Notice other = full_notice("key1", 7);
  other.kind = "exposure";
  other.id = notice_id(other);
  EXPECT_TRUE(insert(other));
  other = full_notice("key1", 7);
  other.cycle = 5;
  other.id = notice_id(other);
  EXPECT_TRUE(insert(other));
  read([](Unit& unit) {
    EXPECT_EQ(subject_notices(unit, "api_key", "key1", "", {}).size(), 4U);
    EXPECT_EQ(subject_notices(unit, "api_key", "key1", "expiry", {}).size(), 3U);
    EXPECT_EQ(subject_notices(unit, "api_key", "key1", "expiry", 5).size(), 1U);
    EXPECT_EQ(subject_notices(unit, "api_key", "key1", "", 1'800'000'000).size(), 3U);
    EXPECT_EQ(subject_notices(unit, "file", "key1", "", {}).size(), 0U);
  });
}

TEST_P(Notices, WiderOnesAreSuperseded) {
  Notice sent = full_notice("key1", 30);
  sent.state = NoticeState::sent;
  EXPECT_TRUE(insert(sent));
  for (const std::int64_t offset : {15, 7, 2, 0}) EXPECT_TRUE(insert(full_notice("key1", offset)));
  EXPECT_TRUE(insert(full_notice("key2", 15)));
  EXPECT_EQ(write([](Unit& unit) {
              return supersede_notices(unit, "api_key", "key1", "expiry", 1'800'000'000, 2, at(9));
            }),
            2U);
  for (const std::int64_t offset : {15, 7}) {
    const Notice notice = *find(full_notice("key1", offset).id);
    EXPECT_EQ(notice.state, NoticeState::superseded);
    EXPECT_EQ(notice.finished, at(9));
    EXPECT_EQ(notice.version, 3);
  }
  EXPECT_EQ(find(sent.id)->state, NoticeState::sent);
  EXPECT_EQ(find(full_notice("key1", 2).id)->state, NoticeState::pending);
  EXPECT_EQ(find(full_notice("key2", 15).id)->state, NoticeState::pending);
  // What is superseded is due no more.
  EXPECT_EQ(read([](Unit& unit) { return due_notices(unit, at(2'000'000'000), 10); }).size(), 3U);
}

TEST_P(Notices, ASubjectsPendingOnesAreCancelled) {
  EXPECT_TRUE(insert(full_notice("key1", 7)));
  EXPECT_TRUE(insert(full_notice("key1", 2)));
  EXPECT_TRUE(insert(full_notice("key2", 2)));
  EXPECT_EQ(
      write([](Unit& unit) { return cancel_notices(unit, "api_key", "key1", "expiry", at(9)); }),
      2U);
  EXPECT_EQ(
      write([](Unit& unit) { return cancel_notices(unit, "api_key", "key1", "expiry", at(9)); }),
      0U);
  EXPECT_EQ(find(full_notice("key1", 7).id)->state, NoticeState::cancelled);
  read([](Unit& unit) {
    EXPECT_EQ(count_notices(unit, NoticeState::cancelled), 2);
    EXPECT_EQ(count_notices(unit, NoticeState::pending), 1);
    EXPECT_EQ(count_notices(unit, NoticeState::sent), 0);
    EXPECT_EQ(due_notices(unit, at(2'000'000'000), 10).size(), 1U);
  });
}

TEST_P(Notices, OneWhoseAttemptIsUnderWayIsCancelledAndSupersededToo) {
  const auto claimed = [&](const char* subject) {
    Notice notice = full_notice(subject, 7);
    notice.state = NoticeState::claimed;
    notice.claimed_by = "node1";
    notice.claimed_until = at(100);
    EXPECT_TRUE(insert(notice));
    return notice;
  };
  Notice cancelled = claimed("key1");
  const Notice superseded = claimed("key2");
  write([&](Unit& unit) {
    EXPECT_EQ(cancel_notices(unit, "api_key", "key1", "expiry", at(9)), 1U);
    EXPECT_EQ(supersede_notices(unit, "api_key", "key2", "expiry", superseded.cycle, 2, at(9)), 1U);
  });
  EXPECT_EQ(find(cancelled.id)->state, NoticeState::cancelled);
  EXPECT_EQ(find(superseded.id)->state, NoticeState::superseded);
  cancelled.state = NoticeState::pending;
  EXPECT_FALSE(update(cancelled)) << "the sender sees that it was too late";
  EXPECT_EQ(read([](Unit& unit) { return earliest_notice(unit); }), std::nullopt);
}

TEST_P(Notices, ADigestComesBackAndIsMadeOnce) {
  const Digest digest{"d1", "admin@example.com", at(9), {"n3", "n1", "n2"}};
  write([&](Unit& unit) { insert_digest(unit, digest); });
  EXPECT_EQ(read([](Unit& unit) { return find_digest(unit, "d1"); }), digest);
  EXPECT_EQ(read([](Unit& unit) { return find_digest(unit, "d2"); }), std::nullopt);
  Digest other = digest;
  other.members = {"n1"};
  const Error error = error_of([&] { write([&](Unit& unit) { insert_digest(unit, other); }); });
  EXPECT_EQ(error.kind(), Failure::duplicate);
  EXPECT_EQ(read([](Unit& unit) { return find_digest(unit, "d1"); }), digest);
}

TEST_P(Notices, ListPagesNewestFirstByEveryFilter) {
  for (int i = 0; i < 12; ++i) {
    Notice notice = full_notice("key" + std::to_string(i % 2), i);
    notice.created = at(1000 + i / 3);  // three at the same time
    notice.state = i % 3 == 0 ? NoticeState::sent : NoticeState::pending;
    notice.recipient = i < 6 ? "a@example.com" : "b@example.com";
    notice.id = notice_id(notice);
    EXPECT_TRUE(insert(notice));
  }
  const auto count = [&](const NoticeFilter& filter) {
    std::vector<Notice> all;
    for (;;) {
      const auto page = read([&](Unit& unit) {
        return list_notices(unit, filter, all.empty() ? nullptr : &all.back(), 2);
      });
      if (page.empty()) break;
      all.insert(all.end(), page.begin(), page.end());
    }
    for (std::size_t i = 1; i < all.size(); ++i) {
      EXPECT_GT(std::tie(all[i - 1].created, all[i - 1].id), std::tie(all[i].created, all[i].id));
    }
    return all.size();
  };
  EXPECT_EQ(count({}), 12U);
  EXPECT_EQ(count({NoticeState::sent, "", ""}), 4U);
  EXPECT_EQ(count({{}, "key1", ""}), 6U);
  EXPECT_EQ(count({{}, "", "b@example.com"}), 6U);
  EXPECT_EQ(count({NoticeState::sent, "key0", "a@example.com"}), 1U);
  EXPECT_EQ(count({NoticeState::failed, "", ""}), 0U);
  EXPECT_EQ(count({{}, "key1", "", "expiry"}), 6U);
  EXPECT_EQ(count({{}, "", "", "exposure"}), 0U);
}

}  // namespace
}  // namespace sallyport::store
