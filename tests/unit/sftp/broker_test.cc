#include "sftp/broker.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <thread>

#include "sftp/account.h"

namespace sallyport::sftp {
namespace {

std::pair<base::UniqueFd, base::UniqueFd> pair() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  return {base::UniqueFd(ends[0]), base::UniqueFd(ends[1])};
}

std::vector<Message> samples() {
  LoginAnswer answer;
  answer.outcome = LoginOutcome::allow;
  answer.session_id = "abc";
  answer.partner = "acme";
  answer.limits.handles = 7;
  answer.policy.trigger = Trigger::marker;
  answer.policy.not_ready_patterns = {"*.part", ".*"};
  UploadDone done;
  done.file_id = "x";
  done.path = "/Incoming/o/n";
  done.size = 7;
  done.line = 3;
  done.in_spool = true;
  done.duration_ms = 9;
  done.modified = -1;
  ControlHello hello{42,
                     "1.0",
                     {"0.0.0.0:22"},
                     {{"ssh-ed25519", "SHA256:a", "MD5:b", "ssh-ed25519 AAAA", "4 2 00", true}}};
  return {hello,
          FrontConfig{},
          BanUpdate{true, {{"192.0.2.1", 5}, {"2001:db8::/64", 0}}},
          RefusalCount{"192.0.2.1", "banned", 3},
          SessionHello{"192.0.2.1", 1, "SSH-2.0-x", "k", "c", "m"},
          LoginQuery{"u", LoginMethod::password, "", false, std::string("p\0w", 3), "k"},
          answer,
          SessionClose{"bye"},
          done,
          Recorded{Status::refused, "no"},
          TakenQuery{"/Incoming/a", 5, true, 7},
          TakenAnswer{true, 1, 2},
          UsageReport{-5, 6, 7, 8, 9, 10, 11, {{12, 13, 14}, {15, 16, 17}}},
          UsageAnswer{1, 2, false, true},
          FileEvent{},
          LoginFailure{"u", "r"},
          SessionEnd{},
          EventsSocket{},
          EndProcess{4711},
          UsageQuery{12}};
}

TEST(BrokerCodec, EveryMessageComesBackAsItWas) {
  const auto messages = samples();
  ASSERT_EQ(messages.size(), std::variant_size_v<Message>) << "a sample for each";
  for (std::size_t i = 0; i < messages.size(); ++i) {
    ASSERT_EQ(messages[i].index(), i);
    const std::string packet = encode(77, messages[i]);
    const auto envelope = decode(packet);
    ASSERT_TRUE(envelope) << i;
    EXPECT_EQ(envelope->id, 77U);
    // Encoding is a function of the fields: the same bytes mean the same message.
    EXPECT_EQ(encode(77, envelope->message), packet) << i;
  }
}

TEST(BrokerCodec, NothingButAWholeMessageIsAccepted) {
  for (const Message& message : samples()) {
    const std::string packet = encode(1, message);
    for (std::size_t length = 0; length < packet.size(); ++length) {
      EXPECT_FALSE(decode(packet.substr(0, length))) << message.index() << " cut at " << length;
    }
    EXPECT_FALSE(decode(packet + '\0')) << message.index() << " with a byte left over";
  }
}

TEST(BrokerCodec, OtherVersionsTypesAndEnumeratorsAreRefused) {
  std::string packet = encode(1, Recorded{Status::ok, ""});
  packet[6] = 9;
  EXPECT_FALSE(decode(packet));
  packet[6] = 0;
  EXPECT_FALSE(decode(packet));
  packet = encode(1, SessionClose{""});
  packet[1] = 120;
  EXPECT_FALSE(decode(packet));
  packet = encode(1, SessionClose{""});
  packet[0] = static_cast<char>(broker_version + 1);
  EXPECT_FALSE(decode(packet));
}

TEST(BrokerCodec, ACountBeyondThePacketIsRefusedWithoutAllocating) {
  std::string packet = encode(1, BanUpdate{});
  packet.replace(packet.size() - 4, 4, "\xff\xff\xff\xff");
  EXPECT_FALSE(decode(packet));
}

TEST(BrokerCodec, TooLongIsAnError) {
  EXPECT_THROW((void)encode(1, SessionClose{std::string(broker_max_packet, 'x')}), BrokerError);
}

TEST(BrokerTransport, PassesADescriptor) {
  auto [ours, theirs] = pair();
  const base::UniqueFd directory(::open("/", O_PATH | O_DIRECTORY));
  ASSERT_TRUE(send_message(theirs.get(), 5, LoginAnswer{}, directory.get()));
  BrokerClient client(std::move(ours));
  const Received received = client.finish(5, std::chrono::seconds(5));
  struct stat a {};
  struct stat b {};
  ASSERT_EQ(::fstat(received.descriptor.get(), &a), 0);
  ASSERT_EQ(::fstat(directory.get(), &b), 0);
  EXPECT_EQ(a.st_ino, b.st_ino);
}

TEST(BrokerTransport, MoreThanOneDescriptorIsMalformedAndNoneStaysOpen) {
  const auto open_descriptors = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  auto [ours, theirs] = pair();
  const std::string packet = encode(0, SessionEnd{});
  const base::UniqueFd something(::open("/", O_PATH | O_DIRECTORY));
  const auto before = open_descriptors();
  for (const std::size_t count : {2U, 3U, 50U}) {
    const std::vector<int> sent(count, something.get());
    std::vector<char> control(CMSG_SPACE(count * sizeof(int)));
    iovec part{const_cast<char*>(packet.data()), packet.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* item = CMSG_FIRSTHDR(&header);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(item), sent.data(), count * sizeof(int));
    ASSERT_GT(::sendmsg(theirs.get(), &header, 0), 0);
    EXPECT_EQ(receive_message(ours.get()).what, Received::What::malformed) << count;
    EXPECT_EQ(open_descriptors(), before) << count;
  }
}

TEST(BrokerTransport, AnswersMayComeInAnyOrder) {
  auto [ours, theirs] = pair();
  BrokerClient client(std::move(ours));
  const auto first = client.start(UsageReport{});
  const auto second = client.start(TakenQuery{});
  ASSERT_TRUE(send_message(theirs.get(), second, TakenAnswer{true, 1, 2}));
  ASSERT_TRUE(send_message(theirs.get(), first, UsageAnswer{5, 6}));
  EXPECT_EQ(client.finish_as<UsageAnswer>(first, std::chrono::seconds(5)).files_left, 6U);
  EXPECT_TRUE(client.finish_as<TakenAnswer>(second, std::chrono::seconds(5)).taken);
}

TEST(BrokerTransport, TheEndOfTheSessionIsSeenWithItsReason) {
  auto [ours, theirs] = pair();
  BrokerClient client(std::move(ours));
  EXPECT_FALSE(client.ended());
  ASSERT_TRUE(send_message(theirs.get(), 0, SessionClose{"suspended"}));
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(client.end_sentence(), "suspended");
  EXPECT_THROW(client.send(SessionEnd{}), BrokerError);
}

// The audit counts what happened: an event that went out before another could not is not sent
// again.
TEST(BrokerTransport, WhatWasReportedIsSentOnce) {
  auto [ours, theirs] = pair();
  BrokerClient client(std::move(ours));
  auto [events, sent_events] = pair();
  const int little = 1;
  ASSERT_EQ(::setsockopt(sent_events.get(), SOL_SOCKET, SO_SNDBUF, &little, sizeof(little)), 0);
  ASSERT_EQ(::fcntl(sent_events.get(), F_SETFL, O_NONBLOCK), 0);
  ASSERT_TRUE(send_message(theirs.get(), 0, EventsSocket{}, sent_events.get()));
  ASSERT_FALSE(client.ended());
  theirs.reset();  // and what does not go over the socket of events goes nowhere
  std::vector<std::string> told;
  const auto hear = [&told, daemon = events.get()] {
    for (Received received = receive_message(daemon, MSG_DONTWAIT);
         received.what == Received::What::message;
         received = receive_message(daemon, MSG_DONTWAIT)) {
      const auto* event = std::get_if<FileEvent>(&received.envelope.message);
      ASSERT_NE(event, nullptr);
      told.push_back(event->path);
    }
  };
  FileEvent event;
  event.kind = FileEventKind::make_directory;
  int refused = 0;
  for (int i = 0; i < 60; ++i) {
    event.path = "/Shared/" + std::to_string(i) + std::string(200, 'x');
    try {
      client.report(event);
      if (i % 12 == 11) client.send_reports();
    } catch (const BrokerError&) {
      ++refused;
    }
    if (i % 20 == 19) hear();
  }
  hear();
  EXPECT_GT(refused, 0) << "the socket was never full: this tests nothing";
  EXPECT_GT(told.size(), 1U);
  EXPECT_EQ(std::set<std::string>(told.begin(), told.end()).size(), told.size());
}

TEST(BrokerTransport, AClosedOrSilentOrConfusedDaemonIsAnError) {
  auto [ours, theirs] = pair();
  BrokerClient client(std::move(ours));
  const auto id = client.start(TakenQuery{});
  EXPECT_THROW((void)client.finish(id, std::chrono::milliseconds(20)), BrokerError);
  ASSERT_TRUE(send_message(theirs.get(), id, Recorded{}));
  EXPECT_THROW((void)client.finish_as<TakenAnswer>(id, std::chrono::seconds(5)), BrokerError);
  theirs.reset();
  EXPECT_TRUE(client.ended());
}

TEST(Quota, AsksTheDaemonBeforeItRefuses) {
  auto [ours, theirs] = pair();
  BrokerClient client(std::move(ours));
  SessionLimits limits;
  limits.quota_bytes_left = 100;
  limits.quota_files_left = 100;
  Quota quota(client, limits);
  EXPECT_TRUE(quota.take(60, 1));
  EXPECT_EQ(quota.bytes_left(), 40U);
  quota.give(10, 0);
  EXPECT_EQ(quota.bytes_left(), 50U);
  std::vector<UsageReport> reports;
  std::thread daemon([&reports, socket = theirs.get()] {
    for (const std::uint64_t left : {10ULL, 500ULL}) {
      const Received received = receive_message(socket);
      reports.push_back(std::get<UsageReport>(received.envelope.message));
      (void)send_message(socket, received.envelope.id, UsageAnswer{left, 5});
    }
  });
  EXPECT_FALSE(quota.take(60, 0)) << "another session has used some";
  EXPECT_TRUE(quota.take(60, 0)) << "and freed it again";
  daemon.join();
  ASSERT_EQ(reports.size(), 2U);
  EXPECT_EQ(reports[0].bytes, 50);
  EXPECT_EQ(reports[0].files, 1);
  EXPECT_EQ(reports[1].bytes, 0);
}

TEST(Quota, TellsOfWhatIsFreedThoughAsMuchIsTaken) {
  auto [ours, theirs] = pair();
  BrokerClient client(std::move(ours));
  SessionLimits limits;
  limits.quota_bytes_left = 1 << 20;
  Quota quota(client, limits);
  quota.count_held_by([] { return std::vector<HeldFile>{{1, 2, 11}}; });
  for (int round = 0; round < 3; ++round) {
    EXPECT_FALSE(quota.owes_report());
    EXPECT_TRUE(quota.take(30 << 10, 0));
    quota.take_back(1 << 10, 0);
    quota.give(29 << 10, 0);
  }
  EXPECT_TRUE(quota.owes_report()) << "a sixteenth has lost its name, and others may have it open";
  std::vector<UsageReport> reports;
  std::thread daemon([&reports, socket = theirs.get()] {
    (void)send_message(socket, 0, UsageQuery{7});
    for (int i = 0; i < 3; ++i) {
      const Received received = receive_message(socket);
      reports.push_back(std::get<UsageReport>(received.envelope.message));
      (void)send_message(socket, received.envelope.id, UsageAnswer{1 << 20, 5});
    }
  });
  quota.report();
  EXPECT_TRUE(quota.owes_report()) << "asked while it waited";
  quota.give(1 << 10, 0);
  quota.report();
  EXPECT_FALSE(quota.owes_report());
  const auto later = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  EXPECT_EQ(quota.tells_in(later), std::chrono::milliseconds(0));
  quota.report_all();
  EXPECT_FALSE(quota.tells_in(later)) << "nothing is told again and again";
  daemon.join();
  ASSERT_EQ(reports.size(), 3U);
  EXPECT_EQ(reports[0].bytes, 0);
  ASSERT_EQ(reports[0].held.size(), 1U);
  EXPECT_EQ(reports[0].held[0].bytes, 11U);
  EXPECT_EQ(reports[0].freed_bytes, 87U << 10);
  EXPECT_EQ(reports[0].answers, 0U);
  EXPECT_EQ(reports[1].answers, 7U);
  EXPECT_EQ(reports[1].freed_bytes, 0U) << "others are not asked for so little";
  EXPECT_EQ(reports[2].freed_bytes, 1U << 10) << "but after a while, and at the end";
}

TEST(Quota, TakesNothingThatOthersHaveTakenMeanwhile) {
  auto [ours, theirs] = pair();
  BrokerClient client(std::move(ours));
  SessionLimits limits;
  limits.quota_bytes_left = 1 << 20;
  Quota quota(client, limits);
  std::vector<std::uint64_t> wanted;
  std::thread daemon([&wanted, socket = theirs.get()] {
    for (const UsageAnswer& answer :
         {UsageAnswer{100, unlimited, false, false}, UsageAnswer{100, unlimited, true, true},
          UsageAnswer{200'000, unlimited, true, false}, UsageAnswer{0, unlimited, true, false}}) {
      const Received received = receive_message(socket);
      wanted.push_back(std::get<UsageReport>(received.envelope.message).wanted_bytes);
      (void)send_message(socket, received.envelope.id, answer);
    }
  });
  EXPECT_FALSE(quota.take(1 << 20, 0)) << "it was all that was left, a while ago";
  EXPECT_TRUE(quota.take(100, 0));
  EXPECT_TRUE(quota.take(200'000, 0)) << "what was freed and is not held comes after a moment";
  daemon.join();
  EXPECT_EQ(wanted, (std::vector<std::uint64_t>{1 << 20, 0, 0, 200'000}));
}

TEST(Quota, TellsOfWhatWasCut) {
  auto [ours, theirs] = pair();
  BrokerClient client(std::move(ours));
  SessionLimits limits;
  limits.quota_bytes_left = 0;
  Quota quota(client, limits);
  quota.take_back(60 << 10, 0);
  EXPECT_FALSE(quota.owes_report());
  quota.take_back(60 << 10, 0);
  EXPECT_TRUE(quota.owes_report()) << "others may wait for it";
}

TEST(Quota, TellsOfASixteenthOfWhatIsLeft) {
  auto [ours, theirs] = pair();
  BrokerClient client(std::move(ours));
  SessionLimits limits;
  limits.quota_bytes_left = 160ULL << 20;
  limits.quota_files_left = 32;
  Quota quota(client, limits);
  std::vector<UsageReport> reports;
  std::thread daemon([&reports, socket = theirs.get()] {
    for (int i = 0; i < 3; ++i) {
      const Received received = receive_message(socket);
      reports.push_back(std::get<UsageReport>(received.envelope.message));
      (void)send_message(socket, received.envelope.id, UsageAnswer{1 << 20, 3});
    }
  });
  EXPECT_TRUE(quota.take(9 << 20, 1));
  EXPECT_TRUE(quota.take(1 << 20, 0)) << "10 of 160 MiB";
  EXPECT_TRUE(quota.take(0, 1)) << "one of three files";
  EXPECT_TRUE(quota.take(60 << 10, 0));
  EXPECT_TRUE(quota.take(4 << 10, 0)) << "64 KiB at least, whatever is left";
  daemon.join();
  ASSERT_EQ(reports.size(), 3U);
  EXPECT_EQ(reports[0].bytes, 9 << 20);
  EXPECT_EQ(reports[0].wanted_bytes, 1U << 20);
  EXPECT_EQ(reports[1].wanted_files, 1U);
  EXPECT_EQ(reports[2].bytes, 60 << 10);
  EXPECT_EQ(reports[2].wanted_bytes, 4U << 10);
}

TEST(Broker, ADaemonThatTakesNoConnectionsIsAwayAtOnce) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("full." + std::to_string(::getpid()));
  const base::UniqueFd listener = listen_at(path);
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  const BrokerClient first(path);
  // The kernel lets one more in than it says.
  const auto fill = [&path] {
    std::vector<BrokerClient> more;
    for (int i = 0; i < 3; ++i) more.emplace_back(path);
  };
  ::alarm(20);  // where connect(2) would wait for ever
  try {
    fill();
    ADD_FAILURE() << "there was room";
  } catch (const base::SystemError& error) {
    EXPECT_EQ(error.code(), EAGAIN) << error.what();
  }
  ::alarm(0);
  std::filesystem::remove(path);
}

TEST(Throttle, LetsASecondsWorthThroughAndThenWaits) {
  using namespace std::chrono_literals;
  const auto start = std::chrono::steady_clock::now();
  Throttle throttle(1000);
  EXPECT_EQ(throttle.wait(start), 0ms);
  throttle.spend(3000, start);
  EXPECT_EQ(throttle.wait(start), 2000ms);
  EXPECT_EQ(throttle.wait(start + 1500ms), 500ms);
  EXPECT_EQ(throttle.wait(start + 2000ms), 0ms);
  Throttle free(unlimited);
  free.spend(1ULL << 40, start);
  EXPECT_EQ(free.wait(start), 0ms);
}

}  // namespace
}  // namespace sallyport::sftp
