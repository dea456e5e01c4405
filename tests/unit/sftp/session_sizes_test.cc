// SETSTAT of sizes by name: in /Incoming, where a file's size says whether it is whole, and in
// /Shared.
#include <gmock/gmock.h>

#include <fstream>

#include "session_fixture.h"

namespace sallyport::sftp {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(SessionTest, SizesAreSetByName) {
  start();
  const auto cut = [&](std::string_view path, std::uint64_t size) {
    return ask(Type::setstat, [&](ReplyBuffer& b) {
      Attributes a;
      a.flags = Attributes::has_size | Attributes::has_times;
      a.size = size;
      a.modified = a.accessed = 1000000000;
      b.put_string(path);
      b.put_attributes(a);
    });
  };
  const auto ends_as = [&](std::string_view path, std::string_view content) {
    const Attributes found = by_path(Type::stat, path).attributes;
    EXPECT_EQ(found.size, content.size()) << path;
    EXPECT_EQ(found.modified, 1000000000U) << path;
    const std::string handle = open(path, open_flag::read).text;
    EXPECT_EQ(read(handle, 0, 100).text, content) << path;
    EXPECT_EQ(by_handle(Type::close, handle).code, Code::ok);
  };
  // A partial stays one: it is not taken, whatever its name.
  const std::string handle = open("/Incoming/Invoices/a", put_flags).text;
  ASSERT_EQ(write(handle, 0, "partial").code, Code::ok);
  session_->finish();
  start();
  EXPECT_EQ(cut("/Incoming/Invoices/a", 4).code, Code::ok);
  ends_as("/Incoming/Invoices/a", "part");
  EXPECT_THAT(uploads(), IsEmpty());
  // A shorter file is a whole one, and can be renamed into its place.
  ASSERT_EQ(put("/Incoming/Invoices/b.part", "whole, and more").code, Code::ok);
  EXPECT_EQ(cut("/Incoming/Invoices/b.part", 5).code, Code::ok);
  ends_as("/Incoming/Invoices/b.part", "whole");
  EXPECT_EQ(rename("/Incoming/Invoices/b.part", "/Incoming/Invoices/b").code, Code::ok);
  EXPECT_EQ(uploads()["/Incoming/Invoices/b"].size, 5U);
  // What a file would get longer by was never sent: as a file of zeros it would look as if it was.
  ASSERT_EQ(put("/Incoming/Invoices/d.part", "whole").code, Code::ok);
  for (const std::uint64_t longer : {6, 1000}) {
    EXPECT_THAT(cut("/Incoming/Invoices/d.part", longer).text,
                HasSubstr("only by what is written"));
    EXPECT_EQ(cut("/Incoming/Invoices/a", longer).code, Code::failure);
  }
  EXPECT_EQ(by_path(Type::stat, "/Incoming/Invoices/d.part").attributes.size, 5U);
  EXPECT_EQ(by_path(Type::stat, "/Incoming/Invoices/a").attributes.size, 4U);
  EXPECT_EQ(rename("/Incoming/Invoices/d.part", "/Incoming/Invoices/d").code, Code::ok);
  // What was received has the size that it has.
  EXPECT_EQ(cut("/Incoming/Invoices/d", 5).code, Code::ok);
  EXPECT_EQ(cut("/Incoming/Invoices/d", 4).code, Code::permission_denied);
  EXPECT_EQ(cut("/Incoming/Invoices", 4).code, Code::failure);
  EXPECT_EQ(cut("/Incoming/Invoices/none", 4).code, Code::no_such_file);
}

TEST_F(SessionTest, ResizingByNameIsTold) {
  start();
  ASSERT_EQ(put("/Shared/a", "0123456789").code, Code::ok);
  ASSERT_EQ(set_size("/Shared/a", 4).code, Code::ok);
  context_->after_answers();
  EXPECT_TRUE(broker_->wait_until([&] {
    const auto* event =
        broker_->log.empty() ? nullptr : std::get_if<FileEvent>(&broker_->log.back());
    return event != nullptr && event->path == "/Shared/a" && event->detail == "set to 4 bytes";
  }));
}

TEST_F(SessionTest, AMarkerIsHeardOfByWhoHadItsFileInHand) {
  broker_->settings.policy.trigger = Trigger::marker;
  start();
  ASSERT_EQ(put("/Incoming/Invoices/a", "content").code, Code::ok);
  // As if another connection had closed it while the file was not in the tree.
  std::ofstream(host("tree/Incoming/Invoices/a.done")).flush();
  fs::permissions(host("tree/Incoming/Invoices/a.done"), fs::perms{complete_mode});
  EXPECT_THAT(uploads(), IsEmpty());
  EXPECT_EQ(set_size("/Incoming/Invoices/a", 4).code, Code::ok);
  EXPECT_EQ(uploads()["/Incoming/Invoices/a"].size, 4U);
  EXPECT_THAT(list("/Incoming/Invoices"), IsEmpty());
}

}  // namespace
}  // namespace sallyport::sftp
