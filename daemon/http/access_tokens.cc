#include "daemon/http/access_tokens.h"

#include <algorithm>

#include "daemon/http/server_reply.h"

namespace sallyport::daemon {

namespace {

constexpr std::size_t most_remembered = 1000;

std::optional<std::string_view> bearer_of(const Request& request) {
  const auto value = request.header("authorization");
  if (!value || lower_case(value->substr(0, 7)) != "bearer ") return std::nullopt;
  const auto start = value->find_first_not_of(' ', 7);
  if (start == std::string_view::npos) return std::nullopt;
  return value->substr(start);
}

}  // namespace

AccessTokens::AccessTokens(store::Store& store, const base::Clock& clock,
                           std::chrono::milliseconds remember)
    : store_(store), clock_(clock), remember_(remember) {}

std::optional<AccessTokens::Known> AccessTokens::look_up(const base::Sha256& token) {
  return store_.read([&](store::Unit& unit) -> std::optional<Known> {
    const auto row = store::find_token(unit, token);
    if (!row || row->kind != store::TokenKind::access || row->revoked) return std::nullopt;
    const auto administrator = store::find_administrator(unit, row->administrator_id);
    if (!administrator || !administrator->active) return std::nullopt;
    Known known;
    known.expires = row->expires;
    known.caller.kind = CallerKind::administrator;
    known.caller.administrator_id = administrator->id;
    known.caller.email = administrator->email;
    known.caller.groups = administrator->groups;
    for (const store::Group& group : store::list_groups(unit)) {
      if (std::find(administrator->groups.begin(), administrator->groups.end(), group.id) !=
          administrator->groups.end()) {
        known.caller.privileges.insert(known.caller.privileges.end(), group.privileges.begin(),
                                       group.privileges.end());
      }
    }
    return known;
  });
}

Caller AccessTokens::authenticate(const Request& request) {
  const auto token = bearer_of(request);
  Caller nobody;
  nobody.source = request.peer.address;
  if (!token) return nobody;

  const base::Sha256 sha256 = base::sha256(*token);
  const auto now = clock_.monotonic();
  std::optional<Known> known;
  std::uint64_t generation = 0;
  {
    auto memory = memory_.lock();
    generation = memory->generation;
    const auto found = memory->known.find(sha256);
    if (found != memory->known.end() && now - found->second.asked < remember_) {
      known = found->second;
    }
  }
  if (!known) {
    known = look_up(sha256);
    if (!known) return nobody;
    known->asked = now;
    auto memory = memory_.lock();
    // What was read before a change must not be remembered after it.
    if (memory->generation == generation) {
      if (memory->known.size() >= most_remembered) memory->known.clear();
      memory->known.insert_or_assign(sha256, *known);
    }
  }
  if (known->expires && clock_.now() >= *known->expires) return nobody;
  known->caller.source = request.peer.address;
  return known->caller;
}

void AccessTokens::access_changed() {
  auto memory = memory_.lock();
  ++memory->generation;
  memory->known.clear();
}

}  // namespace sallyport::daemon
