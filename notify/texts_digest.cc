// The words of a digest: one line a key, the nearest deadline first.
#include <fmt/format.h>

#include <algorithm>

#include "notify/content.h"
#include "notify/escape.h"

namespace sallyport::notify {
namespace {

base::Instant deadline_of(const DigestEntry& entry) {
  return entry.facts.deadline.value_or(entry.facts.happened_at);
}

std::string name_of(const DigestEntry& entry) {
  return entry.facts.key ? entry.facts.key->name : std::string();
}

Item item_of(const DigestEntry& entry, base::Instant now) {
  // A digest says of each key what the badge and the first line of its own mail would say.
  const Content alone = key_content(entry.facts, now);
  Item item;
  item.tone = alone.tone;
  item.name = name_of(entry);
  if (entry.facts.key) item.id = entry.facts.key->id;
  item.what = alone.badge;
  if (!alone.rows.empty())
    item.when = fmt::format("{} {}", alone.rows.front().label, alone.rows.front().value);
  if (!entry.applies) {
    item.tone = Tone::neutral;
    item.what = "No longer applies";
    item.when = "The key has changed since, or a later notice tells of it";
  }
  return item;
}

bool is(const DigestEntry& entry, Kind kind) {
  return entry.applies && entry.facts.kind == kind;
}

std::string keys(std::ptrdiff_t count) {
  return count == 1 ? "1 API key" : fmt::format("{} API keys", count);
}

void add_count(std::string& out, std::ptrdiff_t count, std::string_view one,
               std::string_view many) {
  if (count == 0) return;
  out += fmt::format("{}{} {}", out.empty() ? "" : ", ", count, count == 1 ? one : many);
}

std::string summary(const std::vector<DigestEntry>& entries) {
  const auto count = [&](Kind kind) {
    return std::count_if(entries.begin(), entries.end(),
                         [kind](const DigestEntry& entry) { return is(entry, kind); });
  };
  std::string out;
  add_count(out, count(Kind::key_expired), "has expired", "have expired");
  add_count(out, count(Kind::key_inactive_disabled), "was disabled for inactivity",
            "were disabled for inactivity");
  add_count(out, count(Kind::key_expiring), "expires soon", "expire soon");
  add_count(out, count(Kind::key_inactive), "looks unused", "look unused");
  return out.empty() ? "none needs anything any more" : out;
}

void add_steps(Content& content, const std::vector<DigestEntry>& entries, bool can_act) {
  const auto any = [&](std::initializer_list<Kind> kinds) {
    return std::any_of(entries.begin(), entries.end(), [&](const DigestEntry& entry) {
      return std::any_of(kinds.begin(), kinds.end(), [&](Kind kind) { return is(entry, kind); });
    });
  };
  if (!can_act) {
    content.steps.push_back(
        {"Ask an administrator of the gateway for a new key in the place of each that you still "
         "need, put its value into your integration before the date above, and test it."});
    return;
  }
  if (any({Kind::key_expiring, Kind::key_expired}))
    content.steps.push_back(
        {"A key that is still needed and ends: create a new key from it, and put the new value "
         "wherever the old one is used:",
         "sallyportctl key duplicate ID"});
  if (any({Kind::key_inactive}))
    content.steps.push_back({"A key that is still needed and looks unused: use it once, or:",
                             "sallyportctl key extend ID"});
  if (any({Kind::key_inactive_disabled}))
    content.steps.push_back(
        {"A key that was disabled and is still needed: activate it again. One of the template "
         "CUSTOM cannot be activated; create a new key from it.",
         "sallyportctl key activate ID"});
  content.steps.push_back({"A key that nothing needs any more:", "sallyportctl key delete ID"});
  content.steps.push_back({"What happens to a key, when and why:", "sallyportctl key why ID"});
}

}  // namespace

bool fits_digest(Kind kind) {
  return kind == Kind::key_expiring || kind == Kind::key_expired || kind == Kind::key_inactive ||
         kind == Kind::key_inactive_disabled;
}

Content digest_content(const std::vector<DigestEntry>& entries, base::Instant now) {
  std::vector<DigestEntry> sorted = entries;
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    if (a.applies != b.applies) return a.applies;
    if (deadline_of(a) != deadline_of(b)) return deadline_of(a) < deadline_of(b);
    return name_of(a) < name_of(b);
  });
  Content content;
  for (const DigestEntry& entry : sorted) {
    content.items.push_back(item_of(entry, now));
    content.tone = std::max(content.tone, content.items.back().tone);
  }
  const auto total = static_cast<std::ptrdiff_t>(entries.size());
  const std::string what = summary(entries);
  content.subject = fmt::format("{}: {}", keys(total), what);
  content.badge = "Digest";
  content.heading = fmt::format("{} of {}", keys(total),
                                entries.front().facts.organization.empty()
                                    ? "this gateway"
                                    : quoted(entries.front().facts.organization));
  content.paragraphs.push_back(fmt::format(
      "Of these keys, {}. An ended key is refused at once, and no key's expiration can be changed.",
      what));
  const Role role = entries.front().facts.role;
  add_steps(content, entries, role == Role::administrator || role == Role::fallback);
  return content;
}

}  // namespace sallyport::notify
