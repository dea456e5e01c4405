#include "daemon/config/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "daemon/config/toml.h"

namespace sallyport::daemon {
namespace {

using ::testing::HasSubstr;

std::string problem_of(std::string_view text) {
  try {
    (void)parse_config(text, "sallyportd.toml");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(Options, AnEmptyFileIsTheDefaults) {
  const Config config = parse_config("", "x");
  EXPECT_EQ(config.smtp.port, 25);
  EXPECT_EQ(config.keys.inactivity, (base::Period{1, 0, 0, 0}));
}

TEST(Options, EveryDefaultObeysItsOwnRow) {
  const Config defaults;
  for (const Option& option : option_table()) {
    const std::string value = option.print(defaults);
    if (value.empty()) continue;
    const RawTable table = read_toml("x = " + value, "row");
    Config config;
    EXPECT_EQ(option.take(table.at("x"), config), std::nullopt) << option.name << " = " << value;
    EXPECT_EQ(option.print(config), value) << option.name;
  }
}

TEST(Options, NamesAreUniqueAndHelped) {
  std::set<std::string_view> names;
  for (const Option& option : option_table()) {
    EXPECT_TRUE(names.insert(option.name).second) << option.name;
    EXPECT_FALSE(option.help.empty()) << option.name;
    EXPECT_FALSE(option.type.empty()) << option.name;
  }
}

TEST(Options, TheExampleWithEveryCommentRemovedIsTheDefaults) {
  std::string text;
  std::string example = example_config();
  for (std::size_t at = 0; at < example.size();) {
    const std::size_t end = example.find('\n', at);
    std::string line = example.substr(at, end - at);
    at = end + 1;
    if (line.rfind("#[[", 0) == 0) continue;
    if (line.size() > 1 && line[0] == '#' && line[1] != ' ') line.erase(0, 1);
    text += line + "\n";
  }
  const Config config = parse_config(text, "example");
  const Config defaults;
  for (const Option& option : option_table()) {
    EXPECT_EQ(option.print(config), option.print(defaults)) << option.name;
  }
}

TEST(Options, TakesEveryType) {
  const Config config = parse_config(R"(
organization = "acme"
[smtp]
port = 587
security = "tls"
[keys]
allow_private_ips = true
inactivity = "P6M"
expiry_warnings = ["14d", "1d"]
[partner]
quota_bytes = "20 GiB"
objects = ["Invoices", "Price lists"]
[http]
trusted_proxies = ["192.0.2.0/24"]
[[files.expectations]]
partner = "acme"
days = "weekdays"
by = "06:00"
max_files = 3
)",
                                     "x");
  EXPECT_EQ(config.organization, "acme");
  EXPECT_EQ(config.smtp.port, 587);
  EXPECT_EQ(config.smtp.security, "tls");
  EXPECT_TRUE(config.keys.allow_private_ips);
  EXPECT_EQ(config.keys.inactivity.months, 6);
  EXPECT_EQ(config.keys.expiry_warnings[0], 14 * base::one_day);
  EXPECT_EQ(config.partner.quota_bytes, 20ULL << 30);
  EXPECT_EQ(config.partner.objects[1], "Price lists");
  ASSERT_EQ(config.files.expectations.size(), 1U);
  EXPECT_EQ(config.files.expectations[0].number("max_files"), 3);
  EXPECT_EQ(config.files.expectations[0].number("min_files", 1), 1);
}

struct Bad {
  const char* text;
  const char* says;
};
class BadConfig : public ::testing::TestWithParam<Bad> {};
TEST_P(BadConfig, SaysWhereAndWhat) {
  EXPECT_THAT(problem_of(GetParam().text), HasSubstr(GetParam().says));
}
INSTANTIATE_TEST_SUITE_P(
    Each, BadConfig,
    ::testing::Values(
        Bad{"[smtp]\nprot = 25\n",
            "sallyportd.toml:2: unknown option 'smtp.prot'; did you mean 'smtp.port'?"},
        Bad{"[smpt]\nport = 25\n",
            "sallyportd.toml:1: unknown section 'smpt'; did you mean 'smtp'?"},
        Bad{"\n[SMTP]\nport = 25\n",
            "sallyportd.toml:2: unknown section 'SMTP'; did you mean 'smtp'?"},
        Bad{"[smtp]\nhost = mail.example.com\n", "texts stand in double quotes"},
        Bad{"[http]\nmax_staleness = \"1min\"\n", "did you mean 'verify.max_staleness'?"},
        Bad{"xyzzy_plugh = 1\n", "sallyportd.toml:1: unknown option 'xyzzy_plugh'"},
        Bad{"[smtp]\n\nport = 0\n", "sallyportd.toml:3: smtp.port must be 1 to 65535"},
        Bad{"[smtp]\nport = 65536\n", "must be 1 to 65535"},
        Bad{"[smtp]\nport = \"25\"\n", "smtp.port must be a whole number"},
        Bad{"[smtp]\nport = 25.0\n", "must be a whole number"},
        Bad{"[smtp]\nport = 2026-01-01\n", "must be a whole number"},
        Bad{"smtp = 3\n",
            "sallyportd.toml:1: 'smtp' is a section: its options stand below a line [smtp]"},
        Bad{"[smtp.port]\nx = 1\n", "smtp.port must be a whole number"},
        Bad{"[smtp]\nsecurity = \"ssl\"\n", "must be one of none, starttls, tls"},
        Bad{"[smtp]\ntimeout = \"11min\"\n", "smtp.timeout must be 1s to 10min"},
        Bad{"[smtp]\ntimeout = 30\n", "must be a length of time"},
        Bad{"[smtp]\nhost = \"\"\n", "smtp.host must not be empty"},
        Bad{"[keys]\ninactivity = \"1y\"\n", "must be a calendar period"},
        Bad{"[keys]\ninactivity = \"P0D\"\n", "must be P1D to P10Y"},
        Bad{"[keys]\nexpiry_warnings = [\"2d\", \"7d\"]\n", "longest first"},
        Bad{"[keys]\nexpiry_warnings = []\n", "longest first"},
        Bad{"[keys]\nexposure_high = \"1d\"\n",
            "sallyportd.toml:2: keys.exposure_high must be \"0\" (at once)"},
        Bad{"[http]\ntrusted_proxies = [\"192.0.2.1/24\"]\n", "write 192.0.2.0/24"},
        Bad{"[http]\nlisten = \"0.0.0.0:8480\"\n", "needs http.certificate_file"},
        Bad{"[http]\nlisten = \"localhost:8480\"\n", "must be ADDRESS:PORT"},
        Bad{"[http]\nlisten = \"::1:8480\"\n", "must be ADDRESS:PORT"},
        Bad{"[http]\ncertificate_file = \"/etc/x.pem\"\n",
            "sallyportd.toml:2: http.certificate_file"},
        Bad{"[store]\nsqlite_path = \"x.db\"\n", "must be an absolute path"},
        Bad{"[store]\nshared = true\n", "sallyportd.toml:2: store.shared needs store.driver"},
        Bad{"[notify]\nfrom = \"a@b\\r\\nBcc: x@example.com\"\n", "must be a mail address"},
        Bad{"[notify]\nfrom_name = \"a\\r\\nBcc: x\"\n", "control characters"},
        Bad{"[partner]\nobjects = [\"../etc\"]\n", "must be a folder name"},
        Bad{"[partner]\nstart_directory = \"/a/../..\"\n", "must be a path"},
        Bad{"[partner]\nquota_bytes = \"-1\"\n", "must be a number of bytes"},
        Bad{"[partner]\nquota_bytes = \"99999999999 TiB\"\n", "must be a number of bytes"},
        // A session may have 1024 descriptors.
        Bad{"[partner]\nhandles = 901\n", "sallyportd.toml:2: partner.handles must be 1 to 900"},
        Bad{"[partner]\nhandles = 0\n", "partner.handles must be 1 to 900"},
        // Objects have settings of their own with single partners only.
        Bad{"[partner.per_object.Users]\nmax_file_bytes = 10\n",
            "sallyportd.toml:1: unknown section 'partner.per_object'"},
        Bad{"[[files.expectations]]\npartner = \"a\"\ndays = \"daily\"\n", "lacks 'by'"},
        Bad{"[[files.expectations]]\npartner = \"a\"\ndays = 1\nby = \"06:00\"\n",
            "'days' in line 3"},
        Bad{"[[files.expectations]]\npartner = \"a\"\nobjct = \"Users\"\n",
            "has an unknown 'objct' in line 3; did you mean 'object'?"},
        Bad{"[files]\nexpectations = 3\n", "must be written as tables"},
        Bad{"[smtp\nport = 25\n", "sallyportd.toml:1: "},
        Bad{"a = 1\na = 2\n", "sallyportd.toml:2: "}));

TEST(Options, AllProblemsAreToldAtOnceInOrder) {
  const std::string problem = problem_of("[smtp]\nport = 0\nprot = 1\n[http]\nworkers = 0\n");
  const auto first = problem.find(":2: smtp.port");
  const auto second = problem.find(":3: unknown option 'smtp.prot'");
  const auto third = problem.find(":5: http.workers");
  EXPECT_LT(first, second) << problem;
  EXPECT_LT(second, third) << problem;
  EXPECT_NE(third, problem.npos) << problem;
}

TEST(Options, AMissingFileIsNamed) {
  try {
    (void)load_config("/nonexistent/sallyportd.toml");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("/nonexistent/sallyportd.toml"));
  }
}

TEST(Options, ReloadTakesLiveOptionsAndNamesTheOthers) {
  const Config now = parse_config("[smtp]\nport = 25\n", "x");
  Config next = parse_config("[smtp]\nport = 587\n[http]\nworkers = 7\n", "x");
  std::vector<std::string> need_restart;
  const Config merged = reloaded(now, next, need_restart);
  EXPECT_EQ(merged.smtp.port, 587);
  EXPECT_EQ(merged.http.workers, now.http.workers);
  EXPECT_EQ(need_restart, std::vector<std::string>{"http.workers"});
}

TEST(Policies, OverrideForPartnerAndObject) {
  Config config;
  config.partner.encryption = "optional";
  store::Partner partner;
  partner.name = "acme";
  EXPECT_EQ(policy_for(config, partner).encryption, "optional");
  partner.policies =
      R"({"encryption":"required","quota_bytes":"1 GiB","per_object":{"Invoices":{"signature":"required"}}})";
  EXPECT_EQ(check_policies(partner.policies), std::nullopt);
  EXPECT_EQ(policy_for(config, partner).encryption, "required");
  EXPECT_EQ(policy_for(config, partner).quota_bytes, 1ULL << 30);
  EXPECT_EQ(policy_for(config, partner).signature, "auto");
  EXPECT_EQ(policy_for(config, partner, "Invoices").signature, "required");
  EXPECT_EQ(policy_for(config, partner, "Invoices").encryption, "required");
  EXPECT_EQ(policy_for(config, partner, "Users").signature, "auto");
}

TEST(Policies, WrongOnesAreRefused) {
  EXPECT_THAT(check_policies(R"({"encription":"required"})").value(), HasSubstr("no policy"));
  EXPECT_THAT(check_policies(R"({"encryption":"always"})").value(), HasSubstr("must be one of"));
  EXPECT_THAT(check_policies(R"({"per_object":{"X":{"trigger":1}}})").value(), HasSubstr("X: "));
  EXPECT_THAT(check_policies(R"({"per_object":{"X":{"per_object":{}}}})").value(),
              HasSubstr("no policy"));
  EXPECT_THAT(check_policies(R"({"handles":901})").value(), HasSubstr("must be 1 to 900"));
  EXPECT_TRUE(check_policies("[1]").has_value());
  EXPECT_TRUE(check_policies("{").has_value());
}

// They were answered with "is set" and heeded by nobody: a login asks before there is an object.
TEST(Policies, WhatASessionReadsOnceIsRefusedForAnObject) {
  const std::set<std::string> of_sessions = {"objects",          "subfolders",  "shared",
                                             "start_directory",  "trigger",     "not_ready",
                                             "quota_bytes",      "quota_files", "max_file_bytes",
                                             "bytes_per_second", "connections", "handles",
                                             "channels",         "idle"};
  const Config defaults;
  for (const Option& option : option_table()) {
    if (option.name.substr(0, 8) != "partner.") continue;
    const std::string name(option.name.substr(8));
    // What is printed is JSON as well as TOML: numbers, flags, texts and lists of texts.
    const std::string setting = "{\"" + name + "\":" + option.print(defaults) + "}";
    EXPECT_EQ(check_policies(setting), std::nullopt) << setting;
    const auto problem = check_policies("{\"per_object\":{\"Users\":" + setting + "}}");
    if (of_sessions.count(name) == 0) {
      EXPECT_EQ(problem, std::nullopt) << setting;
    } else {
      EXPECT_THAT(problem.value_or(""), HasSubstr("set it for the partner, not for an object"));
    }
  }
  EXPECT_EQ(check_policies(R"({"per_object":{"Users":{"max_file_bytes":10}}})"),
            "Users: max_file_bytes is read once for a whole session: set it for the partner, not "
            "for an object");
}

TEST(Policies, WhatStoodThereBeforeCanBeTakenAwayOneByOne) {
  const std::string before = R"({"per_object":{"Users":{"max_file_bytes":10,"trigger":"rename"}}})";
  EXPECT_EQ(check_policies(before, before), std::nullopt);
  EXPECT_EQ(check_policies(R"({"per_object":{"Users":{"trigger":"rename"}}})", before),
            std::nullopt);
  EXPECT_TRUE(check_policies(R"({"per_object":{"Users":{"trigger":"marker"}}})", before));
  EXPECT_TRUE(check_policies(R"({"per_object":{"Invoices":{"trigger":"rename"}}})", before));
}

// A setting from before its bounds were narrowed must not take the ones behind it along.
TEST(Policies, OneThatDoesNotParseLeavesTheOthersInForce) {
  const Config config;
  store::Partner partner;
  partner.name = "acme";
  partner.policies =
      R"({"handles":5000,"encryption":"required","per_object":{"Invoices":{"signature":"required"}}})";
  EXPECT_EQ(policy_for(config, partner).handles, 100U);
  EXPECT_EQ(policy_for(config, partner).encryption, "required");
  EXPECT_EQ(policy_for(config, partner, "Invoices").signature, "required");
}

TEST(Policies, TheManualSaysWhichAreForObjectsToo) {
  const std::string manual = manual_options();
  const auto paragraph = [&](const std::string& name) {
    const std::size_t at = manual.find(".B " + name + "\n");
    return at == manual.npos ? "" : manual.substr(at, manual.find("\n.TP", at) - at);
  };
  EXPECT_THAT(paragraph("partner.encryption"), HasSubstr("also for an object of a partner"));
  EXPECT_THAT(paragraph("partner.trigger"), HasSubstr("takes effect on reload."));
}

}  // namespace
}  // namespace sallyport::daemon
