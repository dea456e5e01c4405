// The names of enums as the database keeps them. Never change one: add the next.
#include <array>
#include <utility>

#include "store/codec.h"

namespace sallyport::store {
namespace {

constexpr std::array<std::string_view, 6> key_states{
    "enabled", "disabled", "disabled_for_inactivity", "disabled_exposed", "expired", "revoked"};
constexpr std::array<std::string_view, 5> severities{"critical", "high", "medium", "low", "warn"};
constexpr std::array<std::string_view, 4> sources{"manual", "github", "gitlab", "api"};
constexpr std::array<std::string_view, 7> notice_states{
    "pending", "claimed", "sent", "failed", "not_applicable", "superseded", "cancelled"};
constexpr std::array<std::string_view, 2> channels{"mail", "webhook"};
constexpr std::array<std::string_view, 2> directions{"inbound", "outbound"};
constexpr std::array<std::string_view, 14> file_states{
    "receiving", "received", "decrypted", "delivered", "archived",  "backed_up",  "failed",
    "aborted",   "queued",   "held",      "encrypted", "available", "downloaded", "collected"};
constexpr std::array<std::string_view, 2> token_kinds{"access", "gateway"};

// A name too few would otherwise show at run time only.
static_assert(key_states.size() == static_cast<std::size_t>(KeyState::revoked) + 1);
static_assert(severities.size() == static_cast<std::size_t>(Severity::warn) + 1);
static_assert(sources.size() == static_cast<std::size_t>(ExposureSource::api) + 1);
static_assert(notice_states.size() == static_cast<std::size_t>(NoticeState::cancelled) + 1);
static_assert(channels.size() == static_cast<std::size_t>(Channel::webhook) + 1);
static_assert(directions.size() == static_cast<std::size_t>(Direction::outbound) + 1);
static_assert(file_states.size() == static_cast<std::size_t>(FileState::collected) + 1);
static_assert(token_kinds.size() == static_cast<std::size_t>(TokenKind::gateway) + 1);

template <std::size_t count, class Enum>
std::string_view find_name(const std::array<std::string_view, count>& names, Enum value) {
  return names.at(static_cast<std::size_t>(value));
}

template <std::size_t count, class Enum>
void find_value(const std::array<std::string_view, count>& names, std::string_view name,
                Enum& value) {
  for (std::size_t i = 0; i < count; ++i) {
    if (names[i] != name) continue;
    value = static_cast<Enum>(i);
    return;
  }
  throw Error(Failure::broken, 0,
              "the database holds a state that this program does not know: " + std::string(name));
}

}  // namespace

std::string_view name_of(KeyState value) {
  return find_name(key_states, value);
}
std::string_view name_of(Severity value) {
  return find_name(severities, value);
}
std::string_view name_of(ExposureSource value) {
  return find_name(sources, value);
}
std::string_view name_of(NoticeState value) {
  return find_name(notice_states, value);
}
std::string_view name_of(Channel value) {
  return find_name(channels, value);
}
std::string_view name_of(Direction value) {
  return find_name(directions, value);
}
std::string_view name_of(FileState value) {
  return find_name(file_states, value);
}
std::string_view name_of(TokenKind value) {
  return find_name(token_kinds, value);
}

void from_name(std::string_view name, KeyState& value) {
  find_value(key_states, name, value);
}
void from_name(std::string_view name, Severity& value) {
  find_value(severities, name, value);
}
void from_name(std::string_view name, ExposureSource& value) {
  find_value(sources, name, value);
}
void from_name(std::string_view name, NoticeState& value) {
  find_value(notice_states, name, value);
}
void from_name(std::string_view name, Channel& value) {
  find_value(channels, name, value);
}
void from_name(std::string_view name, Direction& value) {
  find_value(directions, name, value);
}
void from_name(std::string_view name, FileState& value) {
  find_value(file_states, name, value);
}
void from_name(std::string_view name, TokenKind& value) {
  find_value(token_kinds, name, value);
}

}  // namespace sallyport::store
