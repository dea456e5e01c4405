#include "store/files.h"

#include <thread>

#include "base/locked.h"
#include "fixture.h"
#include "samples.h"

namespace sallyport::store {
namespace {

class Files : public OpenStoreTest {
 protected:
  void insert(const File& file) {
    write([&](Unit& unit) { insert_file(unit, file); });
  }
  std::optional<File> find(const std::string& id) {
    return read([&](Unit& unit) { return find_file(unit, id); });
  }
};
CONTRACT(Files);

std::string ids(const std::vector<File>& files) {
  std::string text;
  for (const File& file : files) text += file.id + " ";
  return text;
}

TEST_P(Files, EveryFieldComesBack) {
  const File file = full_file();
  insert(file);
  EXPECT_EQ(find("file1"), file);
  File empty;
  empty.id = "empty";
  insert(empty);
  EXPECT_EQ(find("empty"), empty);
  EXPECT_EQ(find("none"), std::nullopt);
  EXPECT_EQ(error_of([&] { insert(file); }).kind(), Failure::duplicate);
}

TEST_P(Files, EveryStateIsKept) {
  for (int i = 0; i <= static_cast<int>(FileState::collected); ++i) {
    File file = full_file("f" + std::to_string(i));
    file.state = static_cast<FileState>(i);
    file.direction = i % 2 == 0 ? Direction::inbound : Direction::outbound;
    insert(file);
    EXPECT_EQ(find(file.id), file);
  }
}

TEST_P(Files, HostileNamesComeBackByteForByteAndAreFound) {
  int number = 0;
  for (const std::string& text : hostile_texts()) {
    File file = full_file("f" + std::to_string(++number));
    file.name = text;
    file.published_as = "/" + text;
    file.reason = text;
    insert(file);
    EXPECT_EQ(find(file.id), file);
    read([&](Unit& unit) {
      FileFilter filter;
      filter.name = text;
      EXPECT_EQ(ids(list_files(unit, filter, nullptr, 10)), file.id + " ");
    });
  }
}

TEST_P(Files, UpdateIsCompareAndSwap) {
  insert(full_file());
  File first = *find("file1");
  File second = first;
  first.state = FileState::decrypted;
  second.state = FileState::failed;
  EXPECT_TRUE(write([&](Unit& unit) { return update_file(unit, first); }));
  EXPECT_FALSE(write([&](Unit& unit) { return update_file(unit, second); }));
  EXPECT_EQ(find("file1")->state, FileState::decrypted);
  EXPECT_EQ(find("file1")->version, first.version + 1);
}

TEST_P(Files, UpdateKeepsWhatMayChange) {
  File file = full_file();
  file.state = FileState::receiving;
  insert(file);
  const File before = *find(file.id);
  File after = before;
  after.size = before.size + 1;
  after.sha256 = std::string(64, 'e');
  after.state = FileState::failed;
  after.received = before.received + base::Seconds{1};
  after.sequence = before.sequence + 1;
  after.reason_code = "other";
  after.reason = "another reason";
  after.delivered_as = "elsewhere";
  after.published_as = "/Archive/elsewhere";
  after.backup_at = "another place";
  after.verdict = "{\"other\":1}";
  after.plain_sha256 = std::string(64, 'f');
  after.attempts = before.attempts + 1;
  after.retry_since = before.created + base::Seconds{2};
  after.next_due = before.created + base::Seconds{3};
  after.claimed_by = "another node";
  after.claimed_until = before.created + base::Seconds{4};
  EXPECT_TRUE(write([&](Unit& unit) { return update_file(unit, after); }));
  ++after.version;
  EXPECT_EQ(find(file.id), after);
}

TEST_P(Files, StepsKeepTheirOrder) {
  const std::vector<FileStep> steps{{"f", FileState::received, at(9), "of acme"},
                                    {"f", FileState::decrypted, at(9), ""},
                                    {"f", FileState::delivered, at(8), "the clock went back"}};
  write([&](Unit& unit) {
    for (const FileStep& step : steps) insert_file_step(unit, step);
    insert_file_step(unit, {"other", FileState::failed, at(1), ""});
  });
  EXPECT_EQ(read([](Unit& unit) { return file_steps(unit, "f"); }), steps);
}

TEST_P(Files, SequencesHaveNoGapAndNoTwin) {
  const auto next = [&](const char* partner, const char* object) {
    return write([&](Unit& unit) { return next_file_sequence(unit, partner, object); });
  };
  EXPECT_EQ(next("acme", "Invoices"), 1);
  EXPECT_EQ(next("acme", "Invoices"), 2);
  EXPECT_EQ(next("acme", ""), 1);
  EXPECT_EQ(next("other", "Invoices"), 1);
  EXPECT_THROW(write([](Unit& unit) {
                 (void)next_file_sequence(unit, "acme", "Invoices");
                 throw std::runtime_error("no");
               }),
               std::runtime_error);
  EXPECT_EQ(next("acme", "Invoices"), 3);

  base::Locked<std::vector<std::int64_t>> drawn;
  std::vector<std::jthread> workers;
  for (int t = 0; t < 4; ++t) {
    workers.emplace_back([&] {
      for (int i = 0; i < 20; ++i) drawn.lock()->push_back(next("race", "x"));
    });
  }
  workers.clear();
  std::vector<std::int64_t> sorted = drawn.get();
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    EXPECT_EQ(sorted[i], static_cast<std::int64_t>(i) + 1);
  }
}

TEST_P(Files, DueOnesOfTheStatesOldestFirst) {
  const auto with = [&](const char* id, FileState state, std::optional<Instant> due) {
    File file = full_file(id);
    file.state = state;
    file.next_due = due;
    insert(file);
  };
  with("a", FileState::received, at(300));
  with("b", FileState::archived, at(100));
  with("c", FileState::received, at(200));
  with("d", FileState::received, std::nullopt);
  with("e", FileState::failed, at(50));
  read([](Unit& unit) {
    const std::vector<FileState> states{FileState::received, FileState::archived};
    EXPECT_EQ(earliest_file_due(unit, states), at(100));
    EXPECT_EQ(earliest_file_due(unit, {FileState::held}), std::nullopt);
    EXPECT_EQ(earliest_file_due(unit, {}), std::nullopt);
    EXPECT_EQ(ids(due_files(unit, states, at(99), 10)), "");
    EXPECT_EQ(ids(due_files(unit, states, at(250), 10)), "b c ");
    EXPECT_EQ(ids(due_files(unit, states, at(300), 10)), "b c a ");
    EXPECT_EQ(ids(due_files(unit, states, at(300), 2)), "b c ");
    EXPECT_EQ(ids(due_files(unit, {FileState::failed}, at(300), 2)), "e ");
  });
}

TEST_P(Files, RecoveryWalksThroughStatesOldestFirst) {
  const FileState states[] = {FileState::received, FileState::decrypted, FileState::archived};
  for (int i = 0; i < 12; ++i) {
    File file = full_file(std::string(1, static_cast<char>('a' + i)));
    file.state = states[i % 3];
    file.created = at(100 - i / 4);  // several of one second, and ids against time
    insert(file);
  }
  std::string walked;
  std::optional<File> last;
  for (;;) {
    const auto page = read([&](Unit& unit) {
      return files_in_states(unit, {FileState::decrypted, FileState::received},
                             last ? &*last : nullptr, 3);
    });
    if (page.empty()) break;
    walked += ids(page);
    last = page.back();
  }
  EXPECT_EQ(walked, "j k e g h a b d ");
}

TEST_P(Files, AnIntentIsKeptUntilItIsTakenBack) {
  const auto intent = [](const char* id) {
    return UploadIntent{id,
                        "acme",
                        "Invoices",
                        "2026/a b.csv",
                        "{\"address\":\"::1\"}",
                        at(7),
                        1ULL << 40,
                        std::string(64, 'f'),
                        -3};
  };
  for (const char* id : {"c", "a", "b"}) {
    write([&](Unit& unit) { insert_upload_intent(unit, intent(id)); });
  }
  EXPECT_EQ(
      error_of([&] { write([&](Unit& unit) { insert_upload_intent(unit, intent("a")); }); }).kind(),
      Failure::duplicate);
  const auto page = [&](const char* after) {
    return read([&](Unit& unit) { return list_upload_intents(unit, after, 2); });
  };
  EXPECT_EQ(page(""), (std::vector<UploadIntent>{intent("a"), intent("b")}));
  EXPECT_EQ(page("b"), std::vector<UploadIntent>{intent("c")});
  EXPECT_TRUE(write([](Unit& unit) { return delete_upload_intent(unit, "b"); }));
  EXPECT_FALSE(write([](Unit& unit) { return delete_upload_intent(unit, "b"); }));
  EXPECT_EQ(page(""), (std::vector<UploadIntent>{intent("a"), intent("c")}));
}

TEST_P(Files, DeliveredContentIsRecognised) {
  const auto with = [&](const char* id, FileState state, const char* delivered, std::int64_t when) {
    File file = full_file(id);
    file.state = state;
    file.delivered_as = delivered;
    file.received = at(when);
    insert(file);
  };
  with("failed", FileState::failed, "", 1);
  with("failed-and-backed-up", FileState::backed_up, "", 2);
  const auto content = [&](const char* partner, const std::string& sha256, const char* except) {
    return read([&](Unit& unit) {
      const auto file = find_delivered_content(unit, partner, sha256, except);
      return file ? file->id : std::string("none");
    });
  };
  const std::string sha256 = full_file().sha256;
  EXPECT_EQ(content("acme", sha256, ""), "none");
  with("second", FileState::archived, "acme/x", 20);
  with("first", FileState::backed_up, "acme/x", 10);
  EXPECT_EQ(content("acme", sha256, ""), "first");
  EXPECT_EQ(content("acme", sha256, "first"), "second");
  EXPECT_EQ(content("other", sha256, ""), "none");
  EXPECT_EQ(content("acme", std::string(64, 'f'), ""), "none");
}

TEST_P(Files, PublishedPathIsFound) {
  const auto with = [&](const char* id, FileState state, std::int64_t created) {
    File file = full_file(id);
    file.direction = Direction::outbound;
    file.state = state;
    file.created = at(created);
    file.published_as = "/Outgoing/Orders/o.csv.pgp";
    insert(file);
  };
  with("gone", FileState::collected, 30);
  const auto published = [&](const char* partner, const char* path) {
    return read([&](Unit& unit) {
      const auto file = find_published(unit, partner, path);
      return file ? file->id : std::string("none");
    });
  };
  EXPECT_EQ(published("acme", "/Outgoing/Orders/o.csv.pgp"), "none");
  with("old", FileState::downloaded, 10);
  with("new", FileState::available, 20);
  EXPECT_EQ(published("acme", "/Outgoing/Orders/o.csv.pgp"), "new");
  EXPECT_EQ(published("acme", "/Outgoing/Orders/O.csv.pgp"), "none");
  EXPECT_EQ(published("other", "/Outgoing/Orders/o.csv.pgp"), "none");
}

TEST_P(Files, TheLowestSequenceIsPublishedFirst) {
  const auto with = [&](const char* id, FileState state, std::int64_t sequence,
                        std::optional<Instant> retry_since) {
    File file = full_file(id);
    file.state = state;
    file.sequence = sequence;
    file.retry_since = retry_since;
    insert(file);
  };
  const auto turn = [&](Instant released_before) {
    return read([&](Unit& unit) {
      const auto file = first_unpublished(unit, "acme", "Invoices", released_before);
      return file ? file->id : std::string("none");
    });
  };
  EXPECT_EQ(turn(at(0)), "none");
  with("delivered", FileState::delivered, 1, {});
  with("third", FileState::decrypted, 4, {});
  with("second", FileState::received, 3, {});
  with("retried", FileState::received, 2, at(100));
  EXPECT_EQ(turn(at(100)), "retried");
  EXPECT_EQ(turn(at(101)), "second") << "it has held its place long enough";
  EXPECT_EQ(
      read([](Unit& unit) { return first_unpublished(unit, "acme", "Orders", at(0)).has_value(); }),
      false);
}

TEST_P(Files, ReceivedOnesAreCounted) {
  const auto with = [&](const char* id, std::int64_t received, std::uint64_t size) {
    File file = full_file(id);
    file.received = at(received);
    file.size = size;
    insert(file);
  };
  with("before", 99, 5000);
  with("a", 100, 10);
  with("b", 150, 1024);
  with("c", 199, 1023);
  with("after", 200, 5000);
  read([](Unit& unit) {
    EXPECT_EQ(count_received(unit, "acme", "Invoices", at(100), at(200), 1024),
              (ReceivedCount{3, 2}));
    EXPECT_EQ(count_received(unit, "acme", "Orders", at(100), at(200), 1024),
              (ReceivedCount{0, 0}));
  });
}

TEST_P(Files, ListPagesNewestFirstByEveryFilter) {
  for (int i = 0; i < 12; ++i) {
    File file = full_file("f" + std::to_string(100 + i));
    file.created = at(1000 + i / 3);
    file.partner = i % 2 == 0 ? "acme" : "other";
    file.object = i % 3 == 0 ? "Orders" : "Invoices";
    file.direction = i < 6 ? Direction::inbound : Direction::outbound;
    file.state = i % 4 == 0 ? FileState::failed : FileState::archived;
    file.name = i == 7 ? "seven" : "any";
    insert(file);
  }
  const auto count = [&](const FileFilter& filter) {
    std::vector<File> all;
    for (;;) {
      const auto page = read([&](Unit& unit) {
        return list_files(unit, filter, all.empty() ? nullptr : &all.back(), 2);
      });
      if (page.empty()) break;
      all.insert(all.end(), page.begin(), page.end());
    }
    for (std::size_t i = 1; i < all.size(); ++i) {
      EXPECT_GT(std::tie(all[i - 1].created, all[i - 1].id), std::tie(all[i].created, all[i].id));
    }
    return all.size();
  };
  const auto with = [&](auto set) {
    FileFilter filter;
    set(filter);
    return count(filter);
  };
  EXPECT_EQ(count({}), 12U);
  EXPECT_EQ(with([](FileFilter& f) { f.partner = "acme"; }), 6U);
  EXPECT_EQ(with([](FileFilter& f) { f.object = "Orders"; }), 4U);
  EXPECT_EQ(with([](FileFilter& f) { f.direction = Direction::outbound; }), 6U);
  EXPECT_EQ(with([](FileFilter& f) { f.state = FileState::failed; }), 3U);
  EXPECT_EQ(with([](FileFilter& f) { f.name = "seven"; }), 1U);
  EXPECT_EQ(with([](FileFilter& f) { f.since = at(1002); }), 6U);
  EXPECT_EQ(with([](FileFilter& f) { f.until = at(1002); }), 6U);
  EXPECT_EQ(with([](FileFilter& f) {
              f.partner = "acme";
              f.object = "Orders";
              f.direction = Direction::inbound;
              f.state = FileState::failed;
              f.name = "any";
              f.since = at(1000);
              f.until = at(1001);
            }),
            1U);
}

TEST_P(Files, TasksAreReplacedByTheirKey) {
  const FileTask hook{"f", "hook", at(1), at(10), 0, ""};
  const FileTask webhook{"f", "webhook", at(1), at(5), 2, "refused"};
  write([&](Unit& unit) {
    put_file_task(unit, hook);
    put_file_task(unit, webhook);
  });
  read([&](Unit& unit) {
    EXPECT_EQ(file_tasks(unit, "f"), (std::vector<FileTask>{hook, webhook}));
    EXPECT_EQ(due_file_tasks(unit, at(10), 10), (std::vector<FileTask>{webhook, hook}));
    EXPECT_EQ(due_file_tasks(unit, at(9), 10), (std::vector<FileTask>{webhook}));
    EXPECT_EQ(earliest_file_task(unit), at(5));
  });
  const FileTask later{"f", "webhook", at(1), at(50), 3, "again"};
  write([&](Unit& unit) {
    put_file_task(unit, later);
    EXPECT_TRUE(delete_file_task(unit, "f", "hook"));
    EXPECT_FALSE(delete_file_task(unit, "f", "hook"));
  });
  EXPECT_EQ(read([](Unit& unit) { return file_tasks(unit, "f"); }), (std::vector<FileTask>{later}));
}

TEST_P(Files, TasksThatWereGivenUpAreRemembered) {
  EXPECT_EQ(read(find_given_up_task), std::nullopt);
  const GivenUpTask hook{"f", "hook", at(2)};
  const GivenUpTask receipt{"f", "receipt", at(3)};
  write([&](Unit& unit) {
    put_given_up_task(unit, {"f", "hook", at(1)});
    put_given_up_task(unit, receipt);
    put_given_up_task(unit, hook);
  });
  EXPECT_EQ(read([](Unit& unit) { return given_up_tasks(unit, "f"); }),
            (std::vector<GivenUpTask>{hook, receipt}));
  EXPECT_TRUE(read([](Unit& unit) { return given_up_tasks(unit, "g"); }).empty());
  write([&](Unit& unit) {
    EXPECT_TRUE(delete_given_up_task(unit, "f", "hook"));
    EXPECT_FALSE(delete_given_up_task(unit, "f", "hook"));
  });
  EXPECT_EQ(read(find_given_up_task), receipt);
}

TEST_P(Files, SessionEventsNewestFirst) {
  SessionEvent event{at(5),       "acme",     "upload",   "/Incoming/x", "192.0.2.1",
                     "SSH-2.0-X", "SHA256:a", 1ULL << 33, 1500,          "detail"};
  SessionEvent second = event;
  second.event = "logout";
  SessionEvent other = event;
  other.partner = "other";
  other.at = at(4);
  other.banner = "bad \xFF bytes";
  write([&](Unit& unit) {
    insert_session_event(unit, event);
    insert_session_event(unit, second);
    insert_session_event(unit, other);
  });
  other.banner = "bad \xEF\xBF\xBD bytes";
  read([&](Unit& unit) {
    EXPECT_EQ(list_session_events(unit, {"acme", {}, {}}, 10),
              (std::vector<SessionEvent>{second, event}));
    EXPECT_EQ(list_session_events(unit, {}, 10), (std::vector<SessionEvent>{second, event, other}));
    EXPECT_EQ(list_session_events(unit, {}, 1), (std::vector<SessionEvent>{second}));
    EXPECT_EQ(list_session_events(unit, {"", at(5), {}}, 10),
              (std::vector<SessionEvent>{second, event}));
    EXPECT_EQ(list_session_events(unit, {"", {}, at(5)}, 10), (std::vector<SessionEvent>{other}));
    EXPECT_EQ(list_session_events(unit, {"acme", {}, at(5)}, 10), std::vector<SessionEvent>{});
    EXPECT_EQ(oldest_session_event(unit), at(4));
  });
  write([&](Unit& unit) { EXPECT_EQ(prune_session_events(unit, at(5)), 1U); });
  read([&](Unit& unit) {
    EXPECT_EQ(list_session_events(unit, {}, 10), (std::vector<SessionEvent>{second, event}));
  });
  write([&](Unit& unit) { EXPECT_EQ(prune_session_events(unit, at(6)), 2U); });
  EXPECT_EQ(read(oldest_session_event), std::nullopt);
}

}  // namespace
}  // namespace sallyport::store
