// What grows old in staging/ without ever becoming a file.
#include "daemon/files/waiting_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "gateway.h"

namespace sallyport::daemon::test {
namespace {

using testing::UnorderedElementsAre;

TEST(WaitingFiles, ListsOfASessionStayHoweverOldTheyAre) {
  Gateway gateway;
  static_cast<void>(gateway.announce("/Incoming/Invoices/a.csv", "x"));
  const std::string intents = sftp::intents_name(gateway.session_id, 1);
  const std::string names = gateway.session_id + ".names";
  write_file(gateway.staging() / (gateway.session_id + ".1"), "half");
  write_file(gateway.staging() / names, "1\t/Incoming/Invoices/half.csv\n");
  WaitingFiles waiting(*gateway.context, *gateway.in);
  static_cast<void>(waiting.run_pass(gateway.clock.now()));
  gateway.clock.advance(base::Seconds{49 * 3600});
  while (waiting.run_pass(gateway.clock.now())) {
  }
  EXPECT_THAT(files_below(gateway.staging()), UnorderedElementsAre(intents, names));
  EXPECT_THAT(files_below(gateway.tree()),
              UnorderedElementsAre("Archive/Failed/Invoices/half.csv",
                                   "Archive/Failed/Invoices/half.csv.reason.txt"));
}

}  // namespace
}  // namespace sallyport::daemon::test
