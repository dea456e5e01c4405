#include "notify/texts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/bytes.h"
#include "notify/escape.h"
#include "tests/unit/notify/samples.h"

namespace sallyport::notify {
namespace {

using test::sample_facts;
using test::sample_now;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// The first fault of a document whose every element is closed; empty if there is none.
std::string html_fault(std::string_view html) {
  static const std::set<std::string, std::less<>> empty_elements{"meta", "br", "img", "hr"};
  std::vector<std::string> open;
  if (!html.starts_with("<!DOCTYPE html>")) return "no doctype";
  html.remove_prefix(15);
  while (!html.empty()) {
    const auto tag = html.find('<');
    const std::string_view text = html.substr(0, tag);
    for (std::size_t i = text.find('&'); i != std::string_view::npos; i = text.find('&', i + 1)) {
      const auto end = text.find(';', i);
      if (end == std::string_view::npos || end - i > 7) return "bare ampersand";
    }
    if (text.find('>') != std::string_view::npos) return "bare '>'";
    if (tag == std::string_view::npos) break;
    html.remove_prefix(tag + 1);
    const auto end = html.find('>');
    if (end == std::string_view::npos) return "tag without end";
    const std::string_view inside = html.substr(0, end);
    html.remove_prefix(end + 1);
    if (std::count(inside.begin(), inside.end(), '"') % 2 != 0) return "odd quotes";
    const bool closing = inside.starts_with("/");
    const std::string name(inside.substr(closing ? 1 : 0, inside.find(' ') - (closing ? 1 : 0)));
    if (closing) {
      if (open.empty() || open.back() != name) return "unexpected </" + name + ">";
      open.pop_back();
    } else if (empty_elements.count(name) == 0) {
      open.push_back(name);
      if (name == "style") html.remove_prefix(html.find("</style>"));
    }
  }
  return open.empty() ? "" : "open: " + open.back();
}

TEST(Texts, EveryKindAndRoleIsWellFormed) {
  std::set<std::string> subjects;
  for (const Kind kind : all_kinds()) {
    for (const Role role : {Role::administrator, Role::key_contact, Role::security_contact,
                            Role::partner_contact, Role::fallback}) {
      Facts facts = sample_facts(kind);
      facts.role = role;
      facts.link = "https://gate1.example.com/keys?a=1&b=2";
      const NoticeText out = render(facts, sample_now);
      EXPECT_EQ(html_fault(out.html), "") << to_string(kind);
      EXPECT_THAT(out.html, HasSubstr("What to do"));
      EXPECT_THAT(out.html, HasSubstr("keys?a=1&amp;b=2"));
      EXPECT_THAT(out.text, HasSubstr("You receive this because"));
      EXPECT_THAT(out.text, HasSubstr("What to do"));
      EXPECT_FALSE(base::has_control(out.subject));
      EXPECT_LE(base::utf8_length(out.subject), 180U);
      for (const char* remote : {"<img", "<script", "src=", "@import", "url("})
        EXPECT_THAT(out.html, Not(HasSubstr(remote)));
      if (role == Role::administrator) subjects.insert(out.subject);
    }
  }
  EXPECT_EQ(subjects.size(), all_kinds().size()) << "two kinds say the same";
}

TEST(Texts, AWordingForFactsThatAreNotThere) {
  for (const Kind kind : all_kinds()) {
    Facts bare;
    bare.kind = kind;
    const NoticeText out = render(bare, sample_now);
    EXPECT_FALSE(out.subject.empty());
    EXPECT_EQ(html_fault(out.html), "") << to_string(kind);
  }
}

/// spec/api-keys.md 4: a key that expires on a date is good through its last second.
TEST(Texts, ExpiryNamesTheLastGoodSecondAndTheDate) {
  Facts facts = sample_facts(Kind::key_expiring);
  facts.deadline = *base::parse_instant("2026-11-30");
  const base::Instant seven_days_before = *facts.deadline - base::Seconds{7 * 86400};
  const NoticeText out = render(facts, seven_days_before + base::Seconds{40});
  EXPECT_EQ(out.subject, "API key \"Billing\" expires in 7 days (2026-11-29)");
  EXPECT_THAT(out.text, HasSubstr("2026-11-29 23:59:59 UTC"));
  EXPECT_THAT(out.text, Not(HasSubstr("2026-11-30")));
  EXPECT_THAT(out.text, HasSubstr("sallyportctl key duplicate k5bqv3z2n7m4x6c1w8p9r0t2ya"));
  EXPECT_THAT(out.text, HasSubstr("xx*****1f3a"));
}

TEST(Texts, RelativeTimesRoundToTheNearest) {
  Facts facts = sample_facts(Kind::exposure_deadline);
  const auto subject_at = [&](long long seconds_before) {
    return render(facts, *facts.deadline - base::Seconds{seconds_before}).subject;
  };
  EXPECT_THAT(subject_at(3 * 86400 - 59), HasSubstr("in 3 days"));
  EXPECT_THAT(subject_at(86400), HasSubstr("in 24 hours"));
  EXPECT_THAT(subject_at(86400 - 59), HasSubstr("in 24 hours"));
  EXPECT_THAT(subject_at(3600), HasSubstr("in 60 minutes"));
  EXPECT_THAT(subject_at(1), HasSubstr("in 1 second "));
  EXPECT_THAT(subject_at(0), HasSubstr("now"));
  EXPECT_THAT(subject_at(-7200), HasSubstr("2 hours ago"));
}

TEST(Texts, EachTimerSaysItsOwn) {
  const auto text = [](Kind kind) { return render(sample_facts(kind), sample_now).text; };
  EXPECT_THAT(text(Kind::key_inactive), HasSubstr("sallyportctl key extend"));
  EXPECT_THAT(text(Kind::key_inactive_disabled), HasSubstr("sallyportctl key activate"));
  EXPECT_THAT(text(Kind::exposure_flagged), HasSubstr("sallyportctl key revoke"));
  EXPECT_THAT(text(Kind::exposure_flagged), HasSubstr("Found in a public repository [GITHUB]"));
  EXPECT_THAT(text(Kind::exposure_flagged), HasSubstr("https://git.example.org/a/b?x=1&y=2"));
  EXPECT_THAT(text(Kind::exposure_critical), HasSubstr("personal data"));
  EXPECT_THAT(text(Kind::exposure_disabled), Not(HasSubstr("key revoke")));
  EXPECT_THAT(text(Kind::exposure_withdrawn), HasSubstr("It was the example of the manual"));
  EXPECT_THAT(text(Kind::credential_expiring), HasSubstr("SSH key"));
}

TEST(Texts, CustomKeysAreNotOfferedActivation) {
  Facts facts = sample_facts(Kind::key_inactive_disabled);
  facts.key->template_id = "CUSTOM";
  const NoticeText out = render(facts, sample_now);
  EXPECT_THAT(out.text, Not(HasSubstr("key activate")));
  EXPECT_THAT(out.text, HasSubstr("key duplicate"));
}

TEST(Texts, ContactsAreNotAskedToRunOurCommands) {
  for (const Kind kind : {Kind::key_expiring, Kind::key_expired}) {
    Facts facts = sample_facts(kind);
    facts.role = Role::key_contact;
    EXPECT_THAT(render(facts, sample_now).text, Not(HasSubstr("sallyportctl")));
  }
  for (const Kind kind :
       {Kind::file_failed, Kind::file_duplicate, Kind::outbound_not_collected, Kind::outbound_held,
        Kind::expectation_missed, Kind::credential_expired}) {
    Facts facts = sample_facts(kind);
    facts.role = Role::partner_contact;
    EXPECT_THAT(render(facts, sample_now).text, Not(HasSubstr("sallyportctl"))) << to_string(kind);
  }
}

TEST(Texts, WhatWasDownloadedIsNotSaidToWait) {
  for (const Kind kind : {Kind::outbound_not_collected, Kind::outbound_returned}) {
    Facts facts = sample_facts(kind);
    facts.role = Role::partner_contact;
    const auto never = render(facts, sample_now);
    EXPECT_THAT(never.subject + never.text, Not(HasSubstr("but")));
    EXPECT_THAT(never.subject + never.text, AnyOf(HasSubstr("waiting"), HasSubstr("never")));
    facts.file->downloaded_at = sample_now - base::Seconds{86400};
    const auto downloaded = render(facts, sample_now);
    EXPECT_THAT(downloaded.subject, HasSubstr("downloaded but not deleted"));
    EXPECT_THAT(downloaded.text, HasSubstr("delete"));
    EXPECT_THAT(downloaded.text, Not(AnyOf(HasSubstr("aiting"), HasSubstr("ollected"))));
  }
}

TEST(Texts, HostileNamesBreakNeitherLinesNorMarkup) {
  const std::string hostile[] = {
      "x\r\nBcc: victim@example.com\r\n\r\n<script>alert(1)</script>",
      std::string("nul\0inside", 10),
      "\"><img src=x onerror=alert(1)>",
      "'; DROP TABLE api_key; --",
      "{} {0} %s %n",
      "\xff\xfe broken \xc3",
      "\xe2\x80\xae"
      "evil\xe2\x80\xa8line",
      std::string(5000, 'W'),
  };
  for (const std::string& name : hostile) {
    for (const Kind kind : all_kinds()) {
      Facts facts = sample_facts(kind);
      facts.key->name = facts.key->id = facts.key->contact = facts.key->created_by = name;
      facts.exposure->reasons[0] = {name, name, name, sample_now};
      facts.exposure->withdrawn_reason = facts.exposure->severity = name;
      facts.credential->label = facts.credential->fingerprint = name;
      facts.file->name = facts.file->reason = facts.file->id = facts.file->object = name;
      facts.expectation->finding = facts.expectation->rule = name;
      facts.health->sentence = name;
      facts.partner = facts.organization = facts.instance = facts.link = name;
      const NoticeText out = render(facts, sample_now);
      ASSERT_FALSE(base::has_control(out.subject)) << to_string(kind);
      ASSERT_TRUE(base::is_utf8(out.subject + out.text + out.html));
      ASSERT_LE(base::utf8_length(out.subject), 180U);
      ASSERT_EQ(html_fault(out.html), "") << to_string(kind);
      ASSERT_THAT(out.html, Not(HasSubstr("<img")));
      ASSERT_THAT(out.html, Not(HasSubstr("<script")));
      ASSERT_THAT(out.text, Not(HasSubstr("\nBcc:")));
      ASSERT_THAT(out.text, Not(HasSubstr("\xe2\x80\xae")));
      for (const char c : out.text) ASSERT_TRUE(c == '\n' || (c & 0xE0) != 0) << int{c};
    }
  }
}

TEST(Texts, OnlyWebAddressesBecomeLinks) {
  Facts facts = sample_facts(Kind::exposure_flagged);
  facts.exposure->reasons[0].url = "javascript:alert(1)";
  facts.link = "javascript:alert(2)";
  const NoticeText out = render(facts, sample_now);
  EXPECT_THAT(out.html, Not(HasSubstr("href=\"javascript")));
  EXPECT_THAT(out.text, Not(HasSubstr("alert(2)")));
}

TEST(CleanLine, CutsAtCodePoints) {
  EXPECT_EQ(clean_line("  a \t\n b  "), "a b");
  EXPECT_EQ(clean_line("abcdef", 6), "abcdef");
  EXPECT_EQ(clean_line("abcdefg", 6), "abcde\u2026");
  EXPECT_EQ(clean_line("\xf0\x9f\x94\x91\xf0\x9f\x94\x91\xf0\x9f\x94\x91", 2),
            "\xf0\x9f\x94\x91\u2026");
  EXPECT_EQ(clean_line("a\xc3"), "a\uFFFD");
  EXPECT_EQ(clean_line("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(clean_line("\xc0\xaf"), "\uFFFD\uFFFD");            // overlong
  EXPECT_EQ(clean_line(""), "");
}

TEST(ShellWord, QuotesWhatNeedsIt) {
  EXPECT_EQ(shell_word("k5bq-x_1.y"), "k5bq-x_1.y");
  EXPECT_EQ(shell_word(""), "''");
  EXPECT_EQ(shell_word("-rf"), "'-rf'");
  EXPECT_EQ(shell_word("a b;c"), "'a b;c'");
  EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
}

}  // namespace
}  // namespace sallyport::notify
