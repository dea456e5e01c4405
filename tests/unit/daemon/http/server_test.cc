#include "daemon/http/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "base/bytes.h"
#include "daemon/http/sockets.h"
#include "tests/unit/daemon/http/http_client.h"

namespace sallyport::daemon {
namespace {

using test::HttpClient;

/// Says what it was asked, as a gateway would see it.
class EchoGateway final : public GatewayHandler {
 public:
  int answer(const GatewayRequest& request, std::string& headers,
             std::string& body) noexcept override {
    headers += fmt::format("X-Target: {}\r\nX-Fields: {}\r\nX-Peer: {}\r\n", request.target,
                           request.headers.size(), request.peer.address);
    if (is_introspect_target(request.target)) body = request.body;
    return request.target.find("deny") == std::string_view::npos ? 200 : 401;
  }
};

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    std::string path = (std::filesystem::temp_directory_path() / "sallyport_http_XXXXXX").string();
    directory_ = ::mkdtemp(path.data());
    options_.listen = "127.0.0.1:0";
    options_.admin_socket = directory_ + "/admin.sock";
    options_.verify_socket = directory_ + "/verify.sock";
    options_.admin_own_user = true;
    router_.add(Method::get, "/open", Access::anybody(), [](const Request& request, const Params&) {
      Json answer = Json::object({{"id", request.id}, {"peer", request.peer.address}});
      for (const auto& [name, value] : request.query) answer.set("q." + name, value);
      return json_response(200, answer);
    });
    router_.add(Method::post, "/body", Access::anybody(),
                [](const Request& request, const Params&) {
                  return text_response(200, std::to_string(request.body.size()));
                });
    router_.add(Method::get, "/whoami", Access::any_caller(),
                [](const Request& request, const Params&) {
                  return text_response(200, request.caller.actor() + " " + request.caller.source);
                });
    router_.add(Method::get, "/slow", Access::anybody(), [this](const Request&, const Params&) {
      std::unique_lock lock(mutex_);
      ++slow_running_;
      changed_.notify_all();
      changed_.wait_for(lock, test::patience, [this] { return release_; });
      return text_response(200, "slow");
    });
    router_.add(Method::get, "/large", Access::anybody(), [](const Request&, const Params&) {
      return text_response(200, std::string(5'000'000, 'x'));
    });
    router_.add(
        Method::get, "/file", Access::anybody(), [this](const Request& request, const Params&) {
          return file_response(request,
                               base::UniqueFd(::open((directory_ + "/file").c_str(), O_RDONLY)),
                               "application/octet-stream", "a file");
        });
    router_.add(Method::get, "/inject", Access::anybody(), [](const Request&, const Params&) {
      Response answer = text_response(200, "x");
      answer.headers.emplace_back("X-Bad", "a\r\nX-Evil: 1");
      answer.headers.emplace_back("X-Good", "fine");
      return answer;
    });
  }
  ~ServerTest() override {
    release();
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  void start() {
    server_ = std::make_unique<Server>(options_, router_, gateway_, clock_);
    server_->start();
  }
  HttpClient tcp() { return HttpClient::tcp(server_->port()); }
  void release() {
    const std::lock_guard lock(mutex_);
    release_ = true;
    changed_.notify_all();
  }
  void wait_for_slow(int count) {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, test::patience, [&] { return slow_running_ >= count; }));
  }

  std::string directory_;
  ServerOptions options_;
  base::SystemClock clock_;
  Router router_{"acme"};
  EchoGateway gateway_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int slow_running_ = 0;
  bool release_ = false;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, AnswersOverTcp) {
  start();
  auto client = tcp();
  const auto reply = client.get("/open?a=1%202&b", "X-Request-ID: mine-1\r\n");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, R"({"id":"mine-1","peer":"127.0.0.1","q.a":"1 2","q.b":""})");
  EXPECT_EQ(reply.header("X-Request-ID"), "mine-1");
  EXPECT_EQ(reply.header("Content-Type"), "application/json");
  EXPECT_EQ(reply.header("Cache-Control"), "no-store");
  const auto second = client.get("/open", "X-Request-ID: not allowed!\r\n");
  EXPECT_NE(second.header("X-Request-ID"), "not allowed!");
  EXPECT_NE(second.header("X-Request-ID"), "");
  const auto missing = client.get("/missing");
  EXPECT_EQ(missing.status, 404);
  EXPECT_NE(missing.header("X-Request-ID"), "");
  EXPECT_EQ(client.get("/open?a=%zz").status, 400);
}

TEST_F(ServerTest, HeadHasTheLengthButNoBody) {
  start();
  auto client = tcp();
  const auto reply = client.ask("HEAD /large HTTP/1.1\r\nHost: x\r\n\r\n", false);
  EXPECT_EQ(reply.header("Content-Length"), "5000000");
  EXPECT_EQ(client.get("/open").status, 200) << "and the connection is still in step";
}

TEST_F(ServerTest, AnswersPipelinedRequestsInOrder) {
  start();
  auto client = tcp();
  std::string all;
  for (int i = 0; i < 50; ++i) {
    all += fmt::format("GET /{} HTTP/1.1\r\nHost: x\r\nX-Request-ID: r{}\r\n\r\n",
                       i % 2 == 0 ? "open" : "verify", i);
  }
  client.send(all);
  for (int i = 0; i < 50; ++i) {
    const auto reply = client.read();
    ASSERT_EQ(reply.status, 200);
    if (i % 2 == 0) {
      EXPECT_EQ(reply.header("X-Request-ID"), fmt::format("r{}", i));
    }
  }
}

TEST_F(ServerTest, ServesGatewaysOnTheIoThread) {
  start();
  auto client = HttpClient::local(options_.verify_socket);
  const auto reply = client.get("/verify/a?require=x", "A: 1\r\nB: 2\r\n");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("X-Target"), "/verify/a?require=x");
  EXPECT_EQ(reply.header("X-Fields"), "3");
  EXPECT_EQ(client.get("/verify/deny").status, 401);
  EXPECT_EQ(client.get("/verifyx").status, 404);
  EXPECT_EQ(client.get("/open").status, 404) << "verify.sock serves nothing else";
  EXPECT_EQ(
      client.ask("POST /introspect HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\ntoken=x").body,
      "token=x");
  EXPECT_EQ(tcp().get("/verify").status, 200);
  EXPECT_EQ(HttpClient::local(options_.admin_socket).get("/verify").status, 404);
}

TEST_F(ServerTest, VerifyThrowsBodiesAway) {
  start();
  auto client = HttpClient::local(options_.verify_socket);
  std::string body(3'000'000, 'b');
  EXPECT_EQ(client
                .ask(fmt::format("PUT /verify HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
                                 body.size()) +
                     body)
                .status,
            200);
  EXPECT_EQ(client.get("/verify").status, 200);
}

TEST_F(ServerTest, ADenialIsTheOnlyOtherAnswerOfTheVerifySocket) {
  start();
  for (const std::string& request :
       {std::string("nonsense\r\n\r\n"),
        "GET /verify HTTP/1.1\r\nA: " + std::string(70'000, 'a') + "\r\n\r\n",
        std::string("GET /verify HTTP/1.1\r\nbad header\r\n\r\n")}) {
    auto client = HttpClient::local(options_.verify_socket);
    EXPECT_EQ(client.ask(request).status, 401);
  }
}

TEST_F(ServerTest, RecognisesCallersOnTheAdminSocket) {
  start();
  auto client = HttpClient::local(options_.admin_socket);
  EXPECT_EQ(client.get("/whoami").body, fmt::format("uid:{} admin.sock", ::geteuid()));
  EXPECT_EQ(tcp().get("/whoami").status, 401);
  struct stat facts {};
  ASSERT_EQ(::stat(options_.admin_socket.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777U, 0660U);
}

// gpg runs as the daemon's user, which the installation puts into the group of administrators.
TEST_F(ServerTest, OurOwnUserIsNoAdministratorByItsGroups) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const auto is_administrator = [](gid_t primary, bool own_user) {
    const group* const wanted = ::getgrnam("nogroup");
    int ends[2] = {-1, -1};
    if (wanted == nullptr || ::setgroups(1, &wanted->gr_gid) != 0 ||
        ::setresgid(primary, primary, primary) != 0 || ::setresuid(65534, 65534, 65534) != 0 ||
        ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
      std::_Exit(3);
    }
    const Peer peer = identify_peer(ends[0], Listener::admin_socket);
    const Caller caller = identify_local_caller(ends[0], peer, "nogroup", own_user);
    std::_Exit(caller.kind == CallerKind::local ? 1 : 0);
  };
  EXPECT_EXIT(is_administrator(1, false), ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(is_administrator(::getgrnam("nogroup")->gr_gid, false), ::testing::ExitedWithCode(0),
              "");
  EXPECT_EXIT(is_administrator(1, true), ::testing::ExitedWithCode(1), "");
}

TEST_F(ServerTest, RefusesWhatIsNoHttpOrTooMuch) {
  start();
  struct Case {
    std::string request;
    int status;
  };
  std::string many = "GET /open HTTP/1.1\r\nHost: x\r\n";
  for (int i = 0; i < 300; ++i) many += fmt::format("H{}: x\r\n", i);
  const std::string large(2'000'000, 'b');
  for (const Case& wanted :
       {Case{"garbage\r\n\r\n", 400}, Case{"GET /open HTTP/9.9\r\n\r\n", 400},
        Case{"GET  /open HTTP/1.1\r\n\r\n", 400}, Case{"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400},
        Case{"GET /open HTTP/1.1\r\nHost : x\r\n\r\n", 400},
        Case{"POST /body HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
        Case{"POST /body HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
        Case{"POST /body HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        Case{"POST /body HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
        Case{"POST /body HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\nGET /open HTTP/1.1\r\n\r\n",
             400},
        Case{"POST /body HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\nabc", 400},
        Case{"POST /body HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400},
        Case{many + "\r\n", 431}, Case{"GET /open HTTP/1.1\r\nA: " + std::string(70'000, 'a'), 431},
        Case{"GET /" + std::string(70'000, 'a'), 431},
        Case{fmt::format("POST /body HTTP/1.1\r\nContent-Length: {}\r\n\r\n", large.size()) + large,
             413},
        Case{fmt::format("POST /body HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
                         large.size()) +
                 large,
             413},
        Case{"POST /body HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400}}) {
    auto client = tcp();
    client.send(wanted.request);
    const auto reply = client.read();
    EXPECT_EQ(reply.status, wanted.status) << wanted.request.substr(0, 60);
    EXPECT_EQ(reply.header("Content-Type"), "application/problem+json");
    EXPECT_TRUE(client.closed());
  }
  EXPECT_EQ(tcp().get("/open").status, 200);
}

TEST_F(ServerTest, TakesBodiesUpToTheLimit) {
  start();
  auto client = tcp();
  const std::string body(1 << 20, 'b');
  EXPECT_EQ(
      client
          .ask(fmt::format("POST /body HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.size()) + body)
          .body,
      std::to_string(body.size()));
  EXPECT_EQ(client
                .ask("POST /body HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde"
                     "\r\n0\r\n\r\n")
                .body,
            "5");
  client.send("POST /body HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read().status, 100);
  EXPECT_EQ(client.ask("abcd").body, "4");
}

TEST_F(ServerTest, BodiesTogetherHaveALimitToo) {
  options_.max_buffered_bytes = 2'500'000;
  start();
  const std::string most(1'000'000, 'b');
  const std::string request = "POST /body HTTP/1.1\r\nContent-Length: 1000001\r\n\r\n";
  std::vector<HttpClient> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(tcp());
    clients.back().send(request + most);
  }
  // Now all four are held, or some were not.
  int taken = 0;
  int refused = 0;
  for (HttpClient& client : clients) {
    const int status = client.ask("b").status;
    taken += status == 200 ? 1 : 0;
    refused += status == 503 ? 1 : 0;
  }
  EXPECT_GE(taken, 1);
  EXPECT_GE(refused, 1);
  EXPECT_EQ(taken + refused, 4);
  clients.clear();
  EXPECT_EQ(tcp().ask(request + most + "b").body, "1000001") << "what was answered does not count";
}

TEST_F(ServerTest, ClosesWhoeverSendsNothingOrHalf) {
  options_.idle_timeout = base::Seconds{1};
  options_.header_timeout = base::Seconds{1};
  start();
  auto idle = tcp();
  auto half = tcp();
  half.send("GET /open HTTP/1.1\r\nHos");
  auto dripping = tcp();
  std::atomic<bool> stop{false};
  std::thread drip([&] {
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable never;
    for (int i = 0; i < 100 && !stop; ++i) {
      if (!dripping.send(i == 0 ? "GET /open HTTP/1.1\r\nX: " : "a")) return;
      never.wait_for(lock, std::chrono::milliseconds(100));
    }
  });
  EXPECT_TRUE(idle.closed());
  EXPECT_TRUE(half.closed());
  EXPECT_TRUE(dripping.closed());
  stop = true;
  drip.join();
}

TEST_F(ServerTest, IdleAndHalfSentConnectionsHinderNobody) {
  start();
  std::vector<HttpClient> others;
  for (int i = 0; i < 1000; ++i) others.push_back(tcp());
  for (int i = 0; i < 200; ++i) {
    others.push_back(tcp());
    others.back().send("GET /verify HTTP/1.1\r\nX-API-Key: 0123");
  }
  const auto begun = std::chrono::steady_clock::now();
  auto client = tcp();
  for (int i = 0; i < 100; ++i) ASSERT_EQ(client.get("/verify").status, 200);
  EXPECT_EQ(client.get("/open").status, 200);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
  EXPECT_GE(server_->connections(), 1201U);
}

TEST_F(ServerTest, VerificationGoesOnWhileAllWorkersAreBusy) {
  options_.workers = 2;
  start();
  std::vector<HttpClient> slow;
  for (int i = 0; i < 4; ++i) {
    slow.push_back(tcp());
    slow.back().send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  wait_for_slow(2);
  EXPECT_EQ(tcp().get("/verify").status, 200);
  release();
  for (auto& client : slow) EXPECT_EQ(client.read().body, "slow");
}

TEST_F(ServerTest, ClosesConnectionsOverTheLimit) {
  options_.max_connections = 3;
  start();
  std::vector<HttpClient> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(tcp());
    ASSERT_EQ(clients.back().get("/open").status, 200);
  }
  EXPECT_TRUE(tcp().closed());
  EXPECT_EQ(clients.front().get("/open").status, 200);
}

TEST_F(ServerTest, StreamsAFileAndItsParts) {
  std::string content;
  for (int i = 0; i < 400'000; ++i) content += fmt::format("{:07}\n", i);
  std::ofstream(directory_ + "/file") << content;
  start();
  auto client = tcp();
  const auto whole = client.get("/file");
  EXPECT_EQ(whole.status, 200);
  EXPECT_TRUE(whole.body == content);
  const auto part = client.get("/file", "Range: bytes=1000000-1999999\r\n");
  EXPECT_EQ(part.status, 206);
  EXPECT_TRUE(part.body == content.substr(1'000'000, 1'000'000));
  EXPECT_EQ(client.get("/file", "Range: bytes=99999999-\r\n").status, 416);
  EXPECT_EQ(client.ask("HEAD /file HTTP/1.1\r\n\r\n", false).header("Content-Length"), "3200000");
  EXPECT_EQ(client.get("/open").status, 200);
}

TEST_F(ServerTest, AResponseCannotInjectHeaders) {
  start();
  const auto reply = tcp().get("/inject");
  EXPECT_EQ(reply.header("X-Evil"), "");
  EXPECT_EQ(reply.header("X-Bad"), "");
  EXPECT_EQ(reply.header("X-Good"), "fine");
}

TEST_F(ServerTest, StoppingLetsRunningRequestsEnd) {
  start();
  auto idle = tcp();
  ASSERT_EQ(idle.get("/open").status, 200);
  auto slow = tcp();
  slow.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
  wait_for_slow(1);
  std::thread stopper([this] { server_->stop(); });
  EXPECT_TRUE(idle.closed());
  release();
  const auto reply = slow.read();
  EXPECT_EQ(reply.body, "slow");
  stopper.join();
  EXPECT_FALSE(std::filesystem::exists(options_.admin_socket));
}

TEST_F(ServerTest, ReplacesAStaleSocketButNotALiveOne) {
  start();
  EXPECT_THROW(Server(options_, router_, gateway_, clock_).start(), HttpError);
  EXPECT_EQ(HttpClient::local(options_.admin_socket).get("/open").status, 200);
  server_.reset();
  {
    // A socket file whose process is gone.
    const base::UniqueFd fd = listen_unix(options_.admin_socket, "");
  }
  ASSERT_TRUE(std::filesystem::exists(options_.admin_socket));
  start();
  EXPECT_EQ(HttpClient::local(options_.admin_socket).get("/open").status, 200);
}

TEST_F(ServerTest, SaysWhatToDoAboutAnAddressThatCannotBeUsed) {
  const auto refusal = [](const std::string& address, bool tls) -> std::string {
    try {
      (void)listen_tcp(address, tls);
    } catch (const HttpError& error) {
      return error.what();
    }
    return "accepted";
  };
  start();
  const std::string taken = fmt::format("127.0.0.1:{}", server_->port());
  EXPECT_NE(refusal(taken, false).find("Address already in use"), std::string::npos);
  EXPECT_NE(refusal("0.0.0.0:0", false).find("http.certificate_file"), std::string::npos);
  EXPECT_NE(refusal("192.0.2.1:0", false).find("http.certificate_file"), std::string::npos);
  EXPECT_EQ(refusal("0.0.0.0:0", true), "accepted");
  EXPECT_EQ(refusal("[::1]:0", false), "accepted");
  for (const char* text : {"", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:99999", "host:80"}) {
    EXPECT_NE(refusal(text, false).find("is no address"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace sallyport::daemon
