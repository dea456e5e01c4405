// Administrators, their groups, and the tokens that callers present (spec/api-keys.md 8 and 9).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/instant.h"
#include "store/keys.h"
#include "store/store.h"

namespace sallyport::store {

struct Administrator {
  std::string id;
  std::string name;
  std::string email;
  bool active = true;
  std::vector<std::string> groups;  ///< group ids
  Instant created{};

  friend bool operator==(const Administrator&, const Administrator&) = default;
};

struct Group {
  std::string id;
  std::string name;
  std::vector<Privilege> privileges;

  friend bool operator==(const Group&, const Group&) = default;
};

enum class TokenKind { access, gateway };

struct Token {
  std::string id;
  TokenKind kind = TokenKind::access;
  base::Sha256 sha256{};
  std::string administrator_id;  ///< access tokens
  std::string label;
  Instant created{};
  std::optional<Instant> expires;
  std::optional<Instant> revoked;
  std::optional<Instant> next_due;

  friend bool operator==(const Token&, const Token&) = default;
};

void insert_administrator(Unit& unit, const Administrator& administrator);
[[nodiscard]] bool update_administrator(Unit& unit, const Administrator& administrator);
[[nodiscard]] std::optional<Administrator> find_administrator(Unit& unit, std::string_view id);
[[nodiscard]] std::optional<Administrator> find_administrator_by_email(Unit& unit,
                                                                       std::string_view email);
[[nodiscard]] std::vector<Administrator> list_administrators(Unit& unit);
[[nodiscard]] bool delete_administrator(Unit& unit, std::string_view id);

void put_group(Unit& unit, const Group& group);
[[nodiscard]] std::vector<Group> list_groups(Unit& unit);
[[nodiscard]] bool delete_group(Unit& unit, std::string_view id);

void insert_token(Unit& unit, const Token& token);
[[nodiscard]] bool update_token(Unit& unit, const Token& token);
[[nodiscard]] std::optional<Token> find_token(Unit& unit, const base::Sha256& sha256);
[[nodiscard]] std::vector<Token> list_tokens(Unit& unit);
[[nodiscard]] std::vector<Token> due_tokens(Unit& unit, Instant now, unsigned limit);
[[nodiscard]] std::optional<Instant> earliest_token_due(Unit& unit);

}  // namespace sallyport::store
