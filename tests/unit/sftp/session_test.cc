// What requests do in each area: folders, uploads, limits.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include "base/file_io.h"
#include "session_fixture.h"
#include "sftp/recovery.h"

namespace sallyport::sftp {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

TEST_F(SessionTest, AnUploadIsTakenAtItsClose) {
  start();
  const Reply opened = open("/Incoming/Invoices/a.pdf", put_flags);
  ASSERT_EQ(opened.type, Type::handle);
  ASSERT_EQ(write(opened.text, 0, "hello ").code, Code::ok);
  ASSERT_EQ(write(opened.text, 6, "world").code, Code::ok);
  EXPECT_THAT(list("/Incoming/Invoices"), IsEmpty()) << "a file under upload is not the file";
  EXPECT_EQ(by_handle(Type::close, opened.text).code, Code::ok);
  const auto done = uploads();
  ASSERT_EQ(done.count("/Incoming/Invoices/a.pdf"), 1U);
  const UploadDone& intent = done.at("/Incoming/Invoices/a.pdf");
  EXPECT_EQ(intent.size, 11U);
  EXPECT_EQ(intent.sha256, base::sha256("hello world"));
  ASSERT_THAT(files("spool"), testing::SizeIs(1));
  EXPECT_EQ(content("spool/" + files("spool").front()), "hello world");
  EXPECT_THAT(list("/Incoming/Invoices"), IsEmpty());
  const IntentsPart part =
      parse_intents(content("staging/" + intents_name(context_->login.session_id, 1)));
  EXPECT_EQ(part.heading, context_->login.uploader);
  EXPECT_THAT(part.intents, testing::ElementsAre(Intent{files("spool").front(), intent.path,
                                                        intent.size, intent.sha256}));
  EXPECT_EQ(intent.file_id, files("spool").front());
  EXPECT_EQ(intent.line, 1U);
}

TEST_F(SessionTest, WithoutADurableIntentNothingIsTaken) {
  start();
  // What a disk that is full or broken does.
  fs::create_directory(root_ / "acme/staging" / intents_name(context_->login.session_id, 1));
  EXPECT_EQ(put("/Incoming/Invoices/a", "hello").code, Code::failure);
  EXPECT_THAT(files("spool"), IsEmpty());
  EXPECT_THAT(list("/Incoming/Invoices"), UnorderedElementsAre("a")) << "a partial";
  EXPECT_TRUE(uploads().empty());
}

TEST_F(SessionTest, EmptyFilesAndFilesDirectlyInIncomingAreFiles) {
  start();
  EXPECT_EQ(put("/Incoming/empty", "").code, Code::ok);
  EXPECT_EQ(uploads().at("/Incoming/empty").size, 0U);
}

TEST_F(SessionTest, PiecesInAnyOrderHashAsTheWhole) {
  start();
  const std::string handle = open("/Incoming/Invoices/a", put_flags).text;
  ASSERT_EQ(write(handle, 6, "world").code, Code::ok);
  ASSERT_EQ(write(handle, 0, "hellO ").code, Code::ok);
  ASSERT_EQ(write(handle, 4, "o ").code, Code::ok);
  ASSERT_EQ(by_handle(Type::close, handle).code, Code::ok);
  EXPECT_EQ(uploads().at("/Incoming/Invoices/a").sha256, base::sha256("hello world"));
}

TEST_F(SessionTest, AHoleMakesAPartialThatCanBeResumed) {
  start();
  const std::string handle = open("/Incoming/Invoices/a", put_flags).text;
  ASSERT_EQ(write(handle, 0, "hello ").code, Code::ok);
  ASSERT_EQ(write(handle, 7, "orld").code, Code::ok);
  EXPECT_EQ(by_handle(Type::close, handle).code, Code::failure);
  EXPECT_THAT(uploads(), IsEmpty());
  EXPECT_THAT(list("/Incoming/Invoices"), ElementsAre("a"));
  EXPECT_TRUE(is_partial(
      fs::file_size(host("tree/Incoming/Invoices/a")) == 11
          ? static_cast<mode_t>(fs::status(host("tree/Incoming/Invoices/a")).permissions())
          : 0));
}

TEST_F(SessionTest, ABrokenConnectionLeavesAPartialAndResumingCompletesIt) {
  start();
  std::string handle = open("/Incoming/Invoices/a", put_flags).text;
  ASSERT_EQ(write(handle, 0, "hello ").code, Code::ok);
  session_->finish();
  EXPECT_THAT(files("staging"), testing::Not(testing::Contains(testing::HasSubstr(".1"))));
  start();
  EXPECT_EQ(by_path(Type::stat, "/Incoming/Invoices/a").attributes.size, 6U);
  handle =
      open("/Incoming/Invoices/a", open_flag::write | open_flag::create | open_flag::append).text;
  ASSERT_EQ(write(handle, 6, "world").code, Code::ok);
  ASSERT_EQ(by_handle(Type::close, handle).code, Code::ok);
  EXPECT_EQ(uploads().at("/Incoming/Invoices/a").sha256, base::sha256("hello world"));
  EXPECT_THAT(files("tree/Incoming/Invoices"), IsEmpty());
}

TEST_F(SessionTest, ReopeningAPartialWithoutWritingDoesNotCompleteIt) {
  start();
  std::string handle = open("/Incoming/Invoices/a", put_flags).text;
  ASSERT_EQ(write(handle, 0, "half").code, Code::ok);
  session_->finish();
  start();
  handle = open("/Incoming/Invoices/a", open_flag::write).text;
  EXPECT_EQ(by_handle(Type::close, handle).code, Code::failure);
  EXPECT_THAT(uploads(), IsEmpty());
  EXPECT_THAT(list("/Incoming/Invoices"), ElementsAre("a"));
}

TEST_F(SessionTest, AKilledSessionsUploadIsRecoveredAsAPartial) {
  start();
  const std::string handle = open("/Incoming/Invoices/a", put_flags).text;
  ASSERT_EQ(write(handle, 0, "half").code, Code::ok);
  const std::string id = context_->login.session_id;
  const base::UniqueFd partner(::open(host("").c_str(), O_PATH | O_DIRECTORY));
  // The session is still in memory, but nothing of it runs: as if it had been killed.
  const auto left = recover_staging(partner.get(), id);
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(left[0].path, "/Incoming/Invoices/a");
  EXPECT_EQ(left[0].staging, "");
  EXPECT_EQ(left[0].bytes, 4U);
  EXPECT_THAT(files("staging"), IsEmpty());
  EXPECT_EQ(content("tree/Incoming/Invoices/a"), "half");
  EXPECT_THAT(recover_staging(partner.get(), {}), IsEmpty()) << "once more changes nothing";
}

TEST_F(SessionTest, APartialBesideACompleteFileIsKeptUnseen) {
  start();
  ASSERT_EQ(put("/Incoming/Invoices/a.part", "complete").code, Code::ok);
  const std::string handle = open("/Incoming/Invoices/a.part", put_flags).text;
  ASSERT_EQ(write(handle, 0, "ha").code, Code::ok);
  session_->finish();
  EXPECT_EQ(content("tree/Incoming/Invoices/a.part"), "complete");
  EXPECT_THAT(files("staging"), testing::SizeIs(2)) << "the partial and the list of names";
}

TEST_F(SessionTest, NotReadyNamesWaitAndARenameTakesThem) {
  start();
  ASSERT_EQ(put("/Incoming/Invoices/a.pdf.part", "content").code, Code::ok);
  EXPECT_THAT(uploads(), IsEmpty());
  EXPECT_THAT(list("/Incoming/Invoices"), ElementsAre("a.pdf.part"));
  ASSERT_EQ(put("/Incoming/Invoices/a.pdf.part", "content 2").code, Code::ok)
      << "it can be replaced";
  EXPECT_EQ(rename("/Incoming/Invoices/a.pdf.part", "/Incoming/Invoices/a.pdf").code, Code::ok);
  EXPECT_EQ(uploads().at("/Incoming/Invoices/a.pdf").sha256, base::sha256("content 2"));
  EXPECT_THAT(list("/Incoming/Invoices"), IsEmpty());
}

TEST_F(SessionTest, APartialCannotBeRenamedToAReadyName) {
  start();
  const std::string handle = open("/Incoming/Invoices/a.part", put_flags).text;
  ASSERT_EQ(write(handle, 0, "half").code, Code::ok);
  session_->finish();
  start();
  EXPECT_EQ(rename("/Incoming/Invoices/a.part", "/Incoming/Invoices/a").code, Code::failure);
  EXPECT_EQ(rename("/Incoming/Invoices/a.part", "/Incoming/Invoices/b.part").code, Code::ok);
  EXPECT_THAT(list("/Incoming/Invoices"), ElementsAre("b.part"));
  EXPECT_THAT(uploads(), IsEmpty());
}

TEST_F(SessionTest, ACompleteUploadMakesAnOlderPartialObsolete) {
  start();
  std::string handle = open("/Incoming/Invoices/a", put_flags).text;
  ASSERT_EQ(write(handle, 0, "ha").code, Code::ok);
  session_->finish();
  start();
  ASSERT_EQ(put("/Incoming/Invoices/a", "whole").code, Code::ok);
  EXPECT_THAT(list("/Incoming/Invoices"), IsEmpty());
}

TEST_F(SessionTest, TakenFilesAnswerForAWhileToAnySession) {
  start();
  ASSERT_EQ(put("/Incoming/Invoices/a", "12345").code, Code::ok);
  for (int session = 0; session < 2; ++session) {
    EXPECT_EQ(by_path(Type::stat, "/Incoming/Invoices/a").attributes.size, 5U);
    EXPECT_EQ(by_path(Type::lstat, "/Incoming/Invoices/a").type, Type::attrs);
    const Reply set = ask(Type::setstat, [](ReplyBuffer& b) {
      Attributes a;
      a.flags = Attributes::has_times | Attributes::has_permissions;
      a.modified = a.accessed = 1000000000;
      b.put_string("/Incoming/Invoices/a");
      b.put_attributes(a);
    });
    EXPECT_EQ(set.code, Code::ok);
    EXPECT_EQ(by_path(Type::stat, "/Incoming/Invoices/a").attributes.modified, 1000000000U);
    EXPECT_EQ(open("/Incoming/Invoices/a", open_flag::write).code, Code::permission_denied);
    EXPECT_EQ(open("/Incoming/Invoices/a", open_flag::read).code, Code::no_such_file);
    start();
  }
  EXPECT_EQ(put("/Incoming/Invoices/a", "again").code, Code::ok) << "with TRUNC it is a new upload";
}

TEST_F(SessionTest, TriggerRenameTakesOnlyWhatIsRenamed) {
  broker_->settings.policy.trigger = Trigger::rename;
  start();
  ASSERT_EQ(put("/Incoming/Invoices/a", "content").code, Code::ok);
  EXPECT_THAT(uploads(), IsEmpty());
  EXPECT_EQ(rename("/Incoming/Invoices/a", "/Incoming/Invoices/b").code, Code::ok);
  EXPECT_EQ(uploads().count("/Incoming/Invoices/b"), 1U);
}

TEST_F(SessionTest, TriggerMarkerTakesInEitherOrder) {
  broker_->settings.policy.trigger = Trigger::marker;
  start();
  ASSERT_EQ(put("/Incoming/Invoices/a", "content").code, Code::ok);
  EXPECT_THAT(uploads(), IsEmpty());
  ASSERT_EQ(put("/Incoming/Invoices/a.done", "").code, Code::ok);
  EXPECT_EQ(uploads().count("/Incoming/Invoices/a"), 1U);
  ASSERT_EQ(put("/Incoming/Invoices/b.done", "").code, Code::ok);
  ASSERT_EQ(put("/Incoming/Invoices/b", "content").code, Code::ok);
  EXPECT_EQ(uploads().count("/Incoming/Invoices/b"), 1U);
  EXPECT_THAT(list("/Incoming/Invoices"), IsEmpty()) << "markers go with their files";
  EXPECT_EQ(by_path(Type::stat, "/Incoming/Invoices/a.done").type, Type::attrs)
      << "but clients look after what they have put";
  start();
  EXPECT_EQ(by_path(Type::stat, "/Incoming/Invoices/b.done").attributes.size, 0U)
      << "over another connection, too";
  ASSERT_EQ(put("/Incoming/Invoices/b", "newer content").code, Code::ok);
  EXPECT_EQ(by_path(Type::stat, "/Incoming/Invoices/b.done").code, Code::no_such_file)
      << "until the next is awaited";
  const Reply marker = open("/Incoming/Invoices/b.done", open_flag::write | open_flag::create);
  ASSERT_EQ(marker.type, Type::handle) << "whatever the client makes it with";
  ASSERT_EQ(by_handle(Type::close, marker.text).code, Code::ok);
  EXPECT_EQ(uploads().at("/Incoming/Invoices/b").size, 13U);
}

TEST_F(SessionTest, SharedIsAnOrdinaryFolder) {
  start();
  EXPECT_EQ(by_path(Type::mkdir, "/Shared/d").code, Code::ok);
  EXPECT_EQ(put("/Shared/d/a", "content").code, Code::ok);
  EXPECT_EQ(rename("/Shared/d/a", "/Shared/b").code, Code::ok);
  EXPECT_EQ(put("/Shared/c", "other").code, Code::ok);
  EXPECT_EQ(rename("/Shared/b", "/Shared/c").code, Code::failure) << "version 3 replaces nothing";
  EXPECT_EQ(posix_rename("/Shared/b", "/Shared/c").code, Code::ok);
  EXPECT_EQ(content("tree/Shared/c"), "content");
  EXPECT_EQ(set_size("/Shared/c", 4).code, Code::ok);
  EXPECT_EQ(content("tree/Shared/c"), "cont");
  EXPECT_EQ(by_path(Type::rmdir, "/Shared/d").code, Code::ok);
  EXPECT_EQ(by_path(Type::remove, "/Shared/c").code, Code::ok);
  EXPECT_THAT(list("/Shared"), IsEmpty());
}

TEST_F(SessionTest, FoldersOfSharedStayOpenToTheDaemonThatMeasuresThem) {
  start();
  const auto with_mode = [&](Type type, std::string_view path, std::uint32_t mode) {
    return ask(type, [&](ReplyBuffer& b) {
      Attributes a;
      a.flags = Attributes::has_permissions;
      a.permissions = mode;
      b.put_string(path);
      b.put_attributes(a);
    });
  };
  const auto mode_of = [&](const char* path) {
    struct stat status {};
    EXPECT_EQ(::stat(host(path).c_str(), &status), 0);
    return status.st_mode & 0777U;
  };
  EXPECT_EQ(with_mode(Type::mkdir, "/Shared/d", 0700).code, Code::ok);
  EXPECT_EQ(mode_of("tree/Shared/d"), 0750U);
  EXPECT_EQ(with_mode(Type::setstat, "/Shared/d", 0).code, Code::ok);
  EXPECT_EQ(mode_of("tree/Shared/d"), 0550U) << "and to the partner, who may change it again";
  EXPECT_EQ(with_mode(Type::setstat, "/Shared/d", 0755).code, Code::ok);
  EXPECT_EQ(mode_of("tree/Shared/d"), 0755U);
  ASSERT_EQ(put("/Shared/d/file", "x").code, Code::ok);
  EXPECT_EQ(with_mode(Type::setstat, "/Shared/d/file", 0600).code, Code::ok);
  EXPECT_EQ(mode_of("tree/Shared/d/file"), 0600U);
}

TEST_F(SessionTest, NothingCrossesAreasAndReadOnlyAreasStayAsTheyAre) {
  start();
  std::ofstream(host("tree/Outgoing/Orders/o.pgp")) << "secret";
  std::ofstream(host("tree/Archive/Incoming/Invoices/i")) << "old";
  ASSERT_EQ(put("/Shared/a", "x").code, Code::ok);
  EXPECT_EQ(rename("/Shared/a", "/Incoming/Invoices/a").code, Code::permission_denied);
  EXPECT_EQ(put("/Outgoing/Orders/x", "x").code, Code::permission_denied);
  EXPECT_EQ(put("/x", "x").code, Code::permission_denied);
  EXPECT_EQ(by_path(Type::remove, "/Archive/Incoming/Invoices/i").code, Code::permission_denied);
  EXPECT_EQ(by_path(Type::mkdir, "/Incoming/New").code, Code::permission_denied);
  EXPECT_EQ(by_path(Type::rmdir, "/Incoming/Invoices").code, Code::permission_denied);
  EXPECT_EQ(set_size("/Outgoing/Orders/o.pgp", 0).code, Code::permission_denied);
  const std::string handle = open("/Outgoing/Orders/o.pgp", open_flag::read).text;
  EXPECT_EQ(read(handle, 0, 100).text, "secret");
  EXPECT_EQ(read(handle, 6, 100).code, Code::eof);
  EXPECT_EQ(by_handle(Type::close, handle).code, Code::ok);
  EXPECT_EQ(by_path(Type::remove, "/Outgoing/Orders/o.pgp").code, Code::ok);
}

TEST_F(SessionTest, ADownloadIsCompleteOnlyIfEveryByteWasRead) {
  start();
  std::ofstream(host("tree/Outgoing/Orders/o")) << "0123456789";
  for (const bool whole : {false, true}) {
    const std::string handle = open("/Outgoing/Orders/o", open_flag::read).text;
    (void)read(handle, 5, 5);
    if (whole) (void)read(handle, 0, 5);
    ASSERT_EQ(by_handle(Type::close, handle).code, Code::ok);
    EXPECT_TRUE(broker_->wait_until([&] {
      return !broker_->log.empty() && std::holds_alternative<FileEvent>(broker_->log.back()) &&
             std::get<FileEvent>(broker_->log.back()).complete == whole;
    }));
  }
}

TEST_F(SessionTest, LinksPipesAndDevicesOfTheHostAreNotThere) {
  start();
  fs::create_symlink("/etc/passwd", host("tree/Shared/link"));
  fs::create_directory_symlink("/etc", host("tree/Shared/etc"));
  ASSERT_EQ(::mkfifo(host("tree/Shared/pipe").c_str(), 0600), 0);
  EXPECT_THAT(list("/Shared"), IsEmpty());
  EXPECT_EQ(by_path(Type::stat, "/Shared/link").code, Code::no_such_file);
  EXPECT_EQ(open("/Shared/link", open_flag::read).code, Code::permission_denied);
  EXPECT_EQ(open("/Shared/etc/passwd", open_flag::read).code, Code::permission_denied);
  EXPECT_EQ(open("/Shared/pipe", open_flag::read).code, Code::permission_denied);
  EXPECT_EQ(open("/Shared/link", put_flags).code, Code::permission_denied);
  EXPECT_EQ(by_path(Type::opendir, "/Shared/etc").code, Code::no_such_file);
}

// Clients close a file whose WRITE failed (no room, a limit, an error of the disk) like any other.
TEST_F(SessionTest, AnUploadWithARefusedWriteIsNotTaken) {
  broker_->settings.limits.max_file_bytes = 8;
  start();
  const std::string handle = open("/Incoming/Invoices/a", put_flags).text;
  ASSERT_EQ(write(handle, 0, "12345678").code, Code::ok);
  EXPECT_EQ(write(handle, 8, "9").code, Code::failure);
  EXPECT_EQ(by_handle(Type::close, handle).code, Code::failure);
  EXPECT_TRUE(uploads().empty());
  EXPECT_EQ(content("tree/Incoming/Invoices/a"), "12345678") << "a partial, to be resumed";
}

TEST_F(SessionTest, HandlesAreCountedAndCannotBeForged) {
  broker_->settings.limits.handles = 3;
  start();
  std::vector<std::string> handles;
  for (int i = 0; i < 3; ++i) handles.push_back(by_path(Type::opendir, "/").text);
  EXPECT_EQ(by_path(Type::opendir, "/").text, "Too many open files in this session");
  ASSERT_EQ(by_handle(Type::close, handles[1]).code, Code::ok);
  EXPECT_EQ(by_handle(Type::close, handles[1]).text, "No such handle") << "closed twice";
  const std::string fresh = by_path(Type::opendir, "/").text;
  EXPECT_NE(fresh, handles[1]) << "an old handle never means a new file";
  EXPECT_EQ(by_handle(Type::fstat, handles[1]).text, "No such handle");
  EXPECT_EQ(by_handle(Type::fstat, "").text, "No such handle");
  EXPECT_EQ(by_handle(Type::fstat, std::string(8, '\xff')).text, "No such handle");
  EXPECT_EQ(read(fresh, 0, 10).code, Code::permission_denied) << "a folder is no file";
  EXPECT_EQ(write(fresh, 0, "x").code, Code::permission_denied);
}

TEST_F(SessionTest, OffsetsNearTheEndOfTheWorldAreRefused) {
  start();
  const std::string handle = open("/Shared/a", put_flags | open_flag::read).text;
  for (const std::uint64_t offset : {~0ULL, 1ULL << 63, (1ULL << 63) - 1, (1ULL << 62) + 1}) {
    EXPECT_EQ(write(handle, offset, "x").code, Code::failure) << offset;
    EXPECT_EQ(read(handle, offset, 1).code, Code::eof) << offset;
  }
  EXPECT_EQ(read(handle, 0, 0).type, Type::data) << "nothing was asked for, nothing is given";
  EXPECT_EQ(write(handle, 0, "").code, Code::ok);
}

TEST_F(SessionTest, AFolderOfManyFilesIsListedInPieces) {
  start();
  for (int i = 0; i < 1500; ++i) std::ofstream(host("tree/Shared/file" + std::to_string(i)));
  const auto names = list("/Shared");
  EXPECT_EQ(names.size(), 1500U);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 1500U) << "none twice";
}

TEST_F(SessionTest, InitComesOnceAndFirst) {
  start();
  ReplyBuffer init;
  init.begin(Type::init);
  init.put_u32(3);
  init.end();
  feed(init);
  EXPECT_TRUE(session_->broken());
  session_.emplace(*context_);
  ReplyBuffer early;
  early.begin(Type::realpath, 1);
  early.put_string(".");
  early.end();
  feed(early);
  EXPECT_TRUE(session_->broken());
  EXPECT_TRUE(session_->replies().empty());
}

TEST_F(SessionTest, TruncatedAndUnknownRequestsAreAnswered) {
  start();
  for (int type = 3; type <= 20; ++type) {
    const Reply reply = ask(static_cast<Type>(type), [](ReplyBuffer&) {});
    EXPECT_EQ(reply.code, type == 19 || type == 20 ? Code::permission_denied : Code::bad_message)
        << type;
  }
  EXPECT_EQ(ask(static_cast<Type>(42), [](ReplyBuffer&) {}).code, Code::unsupported);
  EXPECT_EQ(ask(Type::extended, [](ReplyBuffer& b) { b.put_string("nonsense@example.com"); }).code,
            Code::unsupported);
}

TEST_F(SessionTest, APausedSessionTakesNoMoreRequestsUntilItsRepliesAreSent) {
  start();
  ASSERT_EQ(put("/Shared/big", std::string(200000, 'x')).code, Code::ok);
  const std::string handle = open("/Shared/big", open_flag::read).text;
  ReplyBuffer requests;
  for (int i = 0; i < 20; ++i) {
    requests.begin(Type::read, 1);
    requests.put_string(handle);
    requests.put_u64(0);
    requests.put_u32(200000);
    requests.end();
  }
  feed(requests);
  EXPECT_LT(consumed_, requests.size());
  EXPECT_GT(consumed_, 0U);
  EXPECT_TRUE(session_->held_back());
}

TEST_F(SessionTest, HomePathsAndIds) {
  broker_->settings.policy.start_directory = "/Shared";
  start();
  EXPECT_THAT(by_path(Type::realpath, ".").names, ElementsAre("/Shared"));
  EXPECT_THAT(by_path(Type::realpath, "../Incoming/x/..").names, ElementsAre("/Incoming"));
  const auto extension = [this](std::string_view name, std::string_view argument) {
    return ask(Type::extended, [&](ReplyBuffer& b) {
      b.put_string(name);
      b.put_string(argument);
    });
  };
  EXPECT_THAT(extension("expand-path@openssh.com", "~/a").names, ElementsAre("/Shared/a"));
  EXPECT_THAT(extension("expand-path@openssh.com", "~acme").names, ElementsAre("/Shared"));
  EXPECT_EQ(extension("expand-path@openssh.com", "~root").code, Code::no_such_file);
  EXPECT_THAT(extension("home-directory", "acme").names, ElementsAre("/Shared"));
  EXPECT_EQ(extension("limits@openssh.com", "").type, Type::extended_reply);
  EXPECT_EQ(extension("statvfs@openssh.com", "/").type, Type::extended_reply);
  EXPECT_EQ(extension("hardlink@openssh.com", "/Shared/a").code, Code::permission_denied);
}

TEST_F(SessionTest, CopyDataStaysInItsArea) {
  start();
  ASSERT_EQ(put("/Shared/a", "0123456789").code, Code::ok);
  std::ofstream(host("tree/Outgoing/Orders/o")) << "x";
  const std::string from = open("/Shared/a", open_flag::read).text;
  const std::string out = open("/Outgoing/Orders/o", open_flag::read).text;
  const std::string to = open("/Shared/b", put_flags).text;
  const auto copy = [this](const std::string& source, const std::string& target) {
    return ask(Type::extended, [&](ReplyBuffer& b) {
      b.put_string("copy-data");
      b.put_string(source);
      b.put_u64(2);
      b.put_u64(0);
      b.put_string(target);
      b.put_u64(0);
    });
  };
  EXPECT_EQ(copy(from, to).code, Code::ok);
  EXPECT_EQ(copy(out, to).code, Code::permission_denied);
  EXPECT_EQ(copy(to, from).code, Code::permission_denied);
  ASSERT_EQ(by_handle(Type::close, to).code, Code::ok);
  EXPECT_EQ(content("tree/Shared/b"), "23456789");
}

TEST_F(SessionTest, SharedIsInvisibleWhileItIsOff) {
  broker_->settings.policy.shared = false;
  start();
  EXPECT_THAT(list("/"), UnorderedElementsAre("Incoming", "Outgoing", "Archive"));
  EXPECT_EQ(by_path(Type::stat, "/Shared").code, Code::no_such_file);
  EXPECT_EQ(put("/Shared/a", "x").code, Code::no_such_file);
}

}  // namespace
}  // namespace sallyport::sftp
