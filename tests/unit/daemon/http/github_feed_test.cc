#include "daemon/http/github_feed.h"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "base/c_handle.h"

namespace sallyport::daemon {
namespace {

class SigningKey {
 public:
  explicit SigningKey(const char* group = "P-256") : key_(EVP_EC_gen(group)) {}
  [[nodiscard]] std::string pem() const {
    const base::CHandle<BIO, BIO_free> out(BIO_new(BIO_s_mem()));
    PEM_write_bio_PUBKEY(out.get(), key_.get());
    char* text = nullptr;
    const long size = BIO_get_mem_data(out.get(), &text);
    return {text, static_cast<std::size_t>(size)};
  }
  [[nodiscard]] std::string sign(std::string_view body) const {
    const base::CHandle<EVP_MD_CTX, EVP_MD_CTX_free> context(EVP_MD_CTX_new());
    std::string signature(256, '\0');
    std::size_t size = signature.size();
    EXPECT_EQ(EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()), 1);
    EXPECT_EQ(
        EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                       reinterpret_cast<const unsigned char*>(body.data()), body.size()),
        1);
    signature.resize(size);
    return base::to_base64(signature);
  }

 private:
  base::CHandle<EVP_PKEY, EVP_PKEY_free> key_;
};

class GitHubFeedTest : public ::testing::Test {
 protected:
  GitHubFeedTest() {
    path_ = (std::filesystem::temp_directory_path() / "sallyport_github_XXXXXX").string();
    const base::UniqueFd fd(::mkstemp(path_.data()));
    pin({{"old", &old_}, {"now", &now_}, {"p384", &other_curve_}});
    GitHubFeed feed;
    feed.keys_file = [this] { return path_; };
    feed.report = [this](const Caller& caller, const GitHubMatch& match) {
      EXPECT_EQ(caller.actor(), "github");
      EXPECT_FALSE(caller.holds({"PLATFORM", "API_KEY", "EDIT", ""}));
      reported_.push_back(match);
      return match.value == base::sha256("known");
    };
    add_github_route(router_, std::move(feed));
  }
  ~GitHubFeedTest() override { std::filesystem::remove(path_); }

  void pin(const std::vector<std::pair<std::string, const SigningKey*>>& keys) {
    Json list = Json::array();
    for (const auto& [name, key] : keys) {
      list.push(
          Json::object({{"key_identifier", name}, {"key", key->pem()}, {"is_current", true}}));
    }
    std::ofstream(path_) << Json::object({{"public_keys", list}}).dump();
  }

  Response send(const std::string& body, const std::string& signature,
                const std::string& identifier = "now") {
    Request request;
    request.method = Method::post;
    request.path = "/exposures/github";
    request.body = body;
    request.headers = {{"github-public-key-identifier", identifier},
                       {"github-public-key-signature", signature}};
    return router_.handle(request);
  }

  SigningKey now_, old_, stranger_, other_curve_{"P-384"};
  std::string path_;
  std::vector<GitHubMatch> reported_;
  Router router_{"acme"};
};

const std::string two_matches =
    R"([ {"token":"known","type":"key","url":"https://example.com/x","source":"commit"},)"
    R"({"token":"other","type":"key","url":""} ])";

TEST_F(GitHubFeedTest, LabelsEveryMatch) {
  const Response answer = send(two_matches, now_.sign(two_matches));
  ASSERT_EQ(answer.status, 200) << answer.body;
  const Json body = parse_json(answer.body);
  const auto& labels = *body.if_array();
  ASSERT_EQ(labels.size(), 2U);
  EXPECT_EQ(labels[0]["label"], Json("true_positive"));
  EXPECT_EQ(labels[0]["token_hash"], Json(base::to_hex(base::sha256("known"))));
  EXPECT_EQ(labels[0]["token_type"], Json("key"));
  EXPECT_EQ(labels[1]["label"], Json("false_positive"));
  EXPECT_EQ(answer.body.find("\"known\""), std::string::npos) << "the value itself is not repeated";
  ASSERT_EQ(reported_.size(), 2U);
  EXPECT_EQ(reported_[0].url, "https://example.com/x");
  EXPECT_EQ(reported_[0].found_in, "commit");
  EXPECT_EQ(send(two_matches, old_.sign(two_matches), "old").status, 200);
}

TEST_F(GitHubFeedTest, RefusesEverySignatureThatIsNotGood) {
  const std::string good = now_.sign(two_matches);
  EXPECT_EQ(send(two_matches + " ", good).status, 403) << "the raw bytes are signed";
  EXPECT_EQ(send(two_matches, stranger_.sign(two_matches)).status, 403);
  EXPECT_EQ(send(two_matches, good, "old").status, 403);
  EXPECT_EQ(send(two_matches, good, "unknown").status, 403);
  EXPECT_EQ(send(two_matches, good, "").status, 403);
  EXPECT_EQ(send(two_matches, other_curve_.sign(two_matches), "p384").status, 403);
  for (const char* signature : {"", "AAAA", "not base64", "MEQCIQ=="}) {
    EXPECT_EQ(send(two_matches, signature).status, 403) << signature;
  }
  std::string flipped = *base::from_base64(good);
  for (std::size_t i = 0; i < flipped.size(); ++i) {
    flipped[i] = static_cast<char>(flipped[i] ^ 1);
    EXPECT_EQ(send(two_matches, base::to_base64(flipped)).status, 403) << i;
    flipped[i] = static_cast<char>(flipped[i] ^ 1);
  }
  EXPECT_TRUE(reported_.empty());
}

TEST_F(GitHubFeedTest, RefusesBodiesOfTheWrongShape) {
  for (const std::string body : {"", "{}", "[1]", "[{}]", R"([{"token":1}])", "[", "null"}) {
    EXPECT_EQ(send(body, now_.sign(body)).status, 400) << body;
  }
  EXPECT_TRUE(reported_.empty()) << "nothing is reported of a body that is refused";
}

TEST_F(GitHubFeedTest, SaysWhenReportsCannotBeChecked) {
  std::ofstream(path_) << "<html>";
  EXPECT_EQ(send(two_matches, now_.sign(two_matches)).status, 503);
  std::filesystem::remove(path_);
  EXPECT_EQ(send(two_matches, now_.sign(two_matches)).status, 503);
  pin({{"now", &now_}});
  EXPECT_EQ(send(two_matches, now_.sign(two_matches)).status, 200);
  path_.clear();
  EXPECT_EQ(send(two_matches, now_.sign(two_matches)).status, 404);
}

}  // namespace
}  // namespace sallyport::daemon
