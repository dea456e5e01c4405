// The one place that knows what SQLite and MySQL write differently.
#include <array>
#include <charconv>

#include "store/catalogue.h"

namespace sallyport::store {
namespace {

struct Token {
  std::string_view name;
  std::string_view sqlite;
  std::string_view mysql;  ///< %: the collation
};
constexpr std::array tokens{
    Token{"lock", "", "FOR UPDATE"},
    // The tables in the order in which they are written.
    Token{"join", "CROSS JOIN", "STRAIGHT_JOIN"},
    // Column types. An index of MySQL reaches over 3072 bytes at most, 4 a character.
    Token{"id", "TEXT NOT NULL", "VARCHAR(64) NOT NULL"},
    Token{"name", "TEXT NOT NULL", "VARCHAR(512) NOT NULL"},
    Token{"name?", "TEXT", "VARCHAR(512)"},
    Token{"text", "TEXT NOT NULL", "TEXT NOT NULL"},
    Token{"text?", "TEXT", "TEXT"},
    Token{"long", "TEXT NOT NULL", "MEDIUMTEXT NOT NULL"},
    Token{"hash", "BLOB NOT NULL", "BINARY(32) NOT NULL"},
    Token{"flag", "INTEGER NOT NULL", "TINYINT NOT NULL"},
    Token{"number", "INTEGER NOT NULL", "BIGINT NOT NULL"},
    Token{"number?", "INTEGER", "BIGINT"},
    Token{"serial", "INTEGER PRIMARY KEY AUTOINCREMENT",
          "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY"},
    // Index only so much of a long text; equality is all that such an index serves.
    Token{"prefix", "", "(191)"},
    // The end of CREATE TABLE: rows live in the primary key's order, or by their serial number.
    Token{"table", "STRICT, WITHOUT ROWID",
          "ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = %"},
    Token{"serial_table", "STRICT", "ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = %"},
};

/// Calls `each` with every item of "a, b, c".
template <class Each>
void for_each_item(std::string_view list, Each&& each) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    std::string_view item = list.substr(0, comma);
    while (item.starts_with(' ')) item.remove_prefix(1);
    each(item);
    if (comma == std::string_view::npos) return;
    list.remove_prefix(comma + 1);
  }
}

std::string joined(std::string_view list, std::string_view before, bool name) {
  std::string text;
  for_each_item(list, [&](std::string_view item) {
    if (!text.empty()) text += ", ";
    if (name) text += item;
    text += before;
  });
  return text;
}

unsigned number_of(std::string_view text) {
  unsigned number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

/// {rows 2 3} = (?, ?, ?), (?, ?, ?)
std::string rows(std::string_view arguments) {
  const std::size_t space = arguments.find(' ');
  const unsigned count = number_of(arguments.substr(0, space));
  const unsigned width = number_of(arguments.substr(space + 1));
  std::string row = "(?";
  for (unsigned i = 1; i < width; ++i) row += ", ?";
  row += ")";
  std::string text = row;
  for (unsigned i = 1; i < count; ++i) text += ", " + row;
  return text;
}

std::string replacement(std::string_view token, Dialect dialect, std::string_view collation) {
  const bool sqlite = dialect == Dialect::sqlite;
  const std::size_t space = token.find(' ');
  const std::string_view name = token.substr(0, space);
  if (space != std::string_view::npos) {
    const std::string_view argument = token.substr(space + 1);
    if (name == "upsert") {
      if (!sqlite) return "ON DUPLICATE KEY UPDATE";
      return "ON CONFLICT (" + std::string(argument) + ") DO UPDATE SET";
    }
    // SQLite takes the right index by itself; MariaDB rather reads and sorts the whole table when
    // much of it is due, although LIMIT wants a hundred rows of it.
    if (name == "index") return sqlite ? "" : "FORCE INDEX (" + std::string(argument) + ")";
    if (name == "new")
      return (sqlite ? "excluded." : "VALUES(") + std::string(argument) + (sqlite ? "" : ")");
    if (name == "set") return joined(argument, " = ?", true);
    if (name == "values") return joined(argument, "?", false);
    if (name == "rows") return rows(argument);
    if (name == "list") return rows("1 " + std::string(argument));
  }
  for (const Token& known : tokens) {
    if (known.name != token) continue;
    std::string text(sqlite ? known.sqlite : known.mysql);
    const std::size_t mark = text.find('%');
    if (mark != std::string::npos) text.replace(mark, 1, collation);
    return text;
  }
  throw Error(Failure::broken, 0, "no such token in the SQL catalogue: " + std::string(token));
}

}  // namespace

std::string dialect_text(std::string_view text, Dialect dialect, std::string_view collation) {
  std::string result;
  result.reserve(text.size());
  for (;;) {
    const std::size_t begin = text.find('{');
    result += text.substr(0, begin);
    if (begin == std::string_view::npos) return result;
    const std::size_t end = text.find('}', begin);
    if (end == std::string_view::npos) {
      throw Error(Failure::broken, 0, "a token without end in the SQL catalogue");
    }
    result += replacement(text.substr(begin + 1, end - begin - 1), dialect, collation);
    text.remove_prefix(end + 1);
  }
}

}  // namespace sallyport::store
