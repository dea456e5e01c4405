#include "daemon/files/lanes.h"

#include <gtest/gtest.h>

namespace sallyport::daemon {
namespace {

std::string next(Lanes& lanes, JobKind kind) {
  const auto job = lanes.take();
  if (!job) return "nothing";
  EXPECT_EQ(job->kind, kind) << job->id;
  return job->id;
}

TEST(Lanes, PublishesInTheOrderOfTheSequenceWhateverIsPreparedFirst) {
  Lanes lanes(8);
  lanes.add("b", "acme/Invoices", 2, false);
  lanes.add("a", "acme/Invoices", 1, false);
  EXPECT_EQ(next(lanes, JobKind::prepare), "a");
  EXPECT_EQ(next(lanes, JobKind::prepare), "b");
  lanes.is_prepared("b");
  EXPECT_FALSE(lanes.take()) << "b has to wait for a";
  lanes.is_prepared("a");
  EXPECT_EQ(next(lanes, JobKind::publish), "a");
  EXPECT_FALSE(lanes.take()) << "one of a line at a time";
  lanes.leave("a");
  EXPECT_EQ(next(lanes, JobKind::publish), "b");
  lanes.leave("b");
  EXPECT_EQ(lanes.known(), 0U);
  EXPECT_FALSE(lanes.is_active());
}

TEST(Lanes, AFailedFileReleasesItsPlace) {
  Lanes lanes(8);
  lanes.add("a", "x", 1, false);
  lanes.add("b", "x", 2, true);
  EXPECT_EQ(next(lanes, JobKind::prepare), "a");
  lanes.leave("a");
  EXPECT_EQ(next(lanes, JobKind::publish), "b");
}

TEST(Lanes, AWaitingFileHoldsItsPlaceUntilItIsLetGo) {
  Lanes lanes(8);
  lanes.add("a", "x", 1, false);
  lanes.add("b", "x", 2, true);
  EXPECT_EQ(next(lanes, JobKind::prepare), "a");
  lanes.waits("a", true);
  EXPECT_FALSE(lanes.take());
  EXPECT_FALSE(lanes.is_active());
  lanes.add("a", "x", 1, false);  // its retry
  EXPECT_EQ(next(lanes, JobKind::prepare), "a");
  lanes.waits("a", false);
  EXPECT_EQ(next(lanes, JobKind::publish), "b");
  lanes.leave("b");
  lanes.add("a", "x", 1, false);
  EXPECT_EQ(next(lanes, JobKind::prepare), "a");
  lanes.is_prepared("a");
  EXPECT_EQ(next(lanes, JobKind::publish), "a");
}

TEST(Lanes, AHeldPlaceFromTheJournalBlocksWithoutWork) {
  Lanes lanes(8);
  lanes.hold("a", "x", 1, true);
  lanes.add("b", "x", 2, true);
  EXPECT_FALSE(lanes.take());
  lanes.add("a", "x", 1, true);
  EXPECT_EQ(next(lanes, JobKind::publish), "a");
}

TEST(Lanes, LinesTakeTurns) {
  Lanes lanes(8);
  for (int i = 0; i < 5; ++i) lanes.add("a" + std::to_string(i), "long", i, false);
  lanes.add("b", "short", 1, false);
  EXPECT_EQ(next(lanes, JobKind::prepare), "a0");
  EXPECT_EQ(next(lanes, JobKind::prepare), "b");
  EXPECT_EQ(next(lanes, JobKind::prepare), "a1");
}

TEST(Lanes, PreparingRunsAheadOnlySoFar) {
  Lanes lanes(2);
  for (int i = 0; i < 5; ++i) lanes.add("a" + std::to_string(i), "x", i, false);
  EXPECT_EQ(next(lanes, JobKind::prepare), "a0");
  lanes.waits("a0", true);
  EXPECT_EQ(next(lanes, JobKind::prepare), "a1");
  EXPECT_EQ(next(lanes, JobKind::prepare), "a2");
  lanes.is_prepared("a1");
  lanes.is_prepared("a2");
  EXPECT_FALSE(lanes.take()) << "two wait for their turn already";
  lanes.add("a0", "x", 0, false);
  EXPECT_EQ(next(lanes, JobKind::prepare), "a0") << "the first always may";
}

TEST(Lanes, AFileIsTakenOnceHoweverOftenItIsOffered) {
  Lanes lanes(8);
  lanes.add("a", "x", 1, false);
  lanes.add("a", "x", 1, false);
  lanes.add_errand("e");
  lanes.add_errand("e");
  EXPECT_EQ(next(lanes, JobKind::errand), "e");
  EXPECT_EQ(next(lanes, JobKind::prepare), "a");
  lanes.add("a", "x", 1, false);
  lanes.add_errand("e");
  EXPECT_FALSE(lanes.take());
  EXPECT_TRUE(lanes.is_active());
  lanes.leave("e");
  lanes.leave("a");
  EXPECT_FALSE(lanes.is_active());
}

}  // namespace
}  // namespace sallyport::daemon
