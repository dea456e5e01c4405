#include "daemon/ctl/key_table.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "daemon/ctl/command.h"

namespace sallyport::daemon::ctl {

namespace {

struct Row {
  std::vector<std::string> cells;
  std::size_t line = 0;
};

[[noreturn]] void fail(std::size_t line, const std::string& problem) {
  throw CtlError(exit_usage, "line " + std::to_string(line) + ": " + problem);
}

class CsvReader {
 public:
  explicit CsvReader(std::string_view text) : text_(text) {
    if (text_.substr(0, 3) == "\xEF\xBB\xBF") text_.remove_prefix(3);
  }

  std::vector<Row> read() {
    std::vector<Row> rows;
    while (at_ < text_.size()) {
      Row row;
      row.line = line_;
      do row.cells.push_back(read_cell());
      while (take(','));
      end_of_row();
      const bool blank = row.cells.size() == 1 && row.cells[0].empty();
      if (!blank) rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void end_of_row() {
    const bool carriage = take('\r');
    const bool feed = take('\n');
    if (!carriage && !feed && at_ < text_.size()) fail(line_, "text after a closing quote");
    ++line_;
  }

  std::string read_cell() {
    if (!take('"')) {
      const auto end = text_.find_first_of(",\r\n", at_);
      std::string cell(text_.substr(at_, end == std::string_view::npos ? end : end - at_));
      at_ = end == std::string_view::npos ? text_.size() : end;
      return cell;
    }
    std::string cell;
    const std::size_t opened = line_;
    while (true) {
      if (at_ >= text_.size()) fail(opened, "a quote is not closed");
      const char c = text_[at_++];
      if (c == '\n') ++line_;
      if (c != '"') {
        cell += c;
      } else if (!take('"')) {
        return cell;
      } else {
        cell += '"';
      }
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
};

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  std::size_t begin = 0;
  while (true) {
    begin = text.find_first_not_of(" ;", begin);
    if (begin == std::string_view::npos) return out;
    const auto end = text.find_first_of(" ;", begin);
    out.emplace_back(text.substr(begin, end == std::string_view::npos ? end : end - begin));
    if (end == std::string_view::npos) return out;
    begin = end;
  }
}

constexpr std::array<std::string_view, 12> text_columns{
    "displayName",  "description",    "apiKeyTemplateId", "value",
    "sha256",       "last4",          "createdDate",      "activationDate",
    "lastUsedDate", "expirationDate", "searchHub",        "createdBy"};
constexpr std::array<std::string_view, 4> list_columns{"privileges", "permissions", "allowedIps",
                                                       "deniedIps"};
constexpr std::array<std::string_view, 4> contact_columns{"contact.firstName", "contact.lastName",
                                                          "contact.login", "contact.email"};

template <std::size_t Count>
bool is_one_of(const std::array<std::string_view, Count>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void set_cell(Json& key, const std::string& column, const std::string& cell, std::size_t line) {
  if (cell.empty()) return;
  if (is_one_of(text_columns, column)) {
    key.set(column, cell);
  } else if (is_one_of(list_columns, column)) {
    key.set(column, Json::array_of(words(cell)));
  } else if (is_one_of(contact_columns, column)) {
    Json contact = key["contact"];
    contact.set(column.substr(column.find('.') + 1), cell);
    key.set("contact", std::move(contact));
  } else if (cell == "true" || cell == "false") {
    key.set(column, cell == "true");
  } else {
    fail(line, column + " must be true or false");
  }
}

}  // namespace

Json::Array keys_from_csv(std::string_view text) {
  const auto rows = CsvReader(text).read();
  if (rows.empty()) fail(1, "a header line with the names of the columns is missing");
  const auto& header = rows.front().cells;
  for (const auto& column : header) {
    if (!is_one_of(text_columns, column) && !is_one_of(list_columns, column) &&
        !is_one_of(contact_columns, column) && column != "enabled") {
      fail(1, "there is no column \"" + column + "\"; `sallyportctl key import --help` names them");
    }
  }
  Json::Array keys;
  for (auto row = rows.begin() + 1; row != rows.end(); ++row) {
    if (row->cells.size() != header.size()) {
      fail(row->line, std::to_string(row->cells.size()) + " cells, but the header has " +
                          std::to_string(header.size()));
    }
    Json key = Json::object();
    for (std::size_t i = 0; i < header.size(); ++i) {
      set_cell(key, header[i], row->cells[i], row->line);
    }
    keys.push_back(std::move(key));
  }
  return keys;
}

}  // namespace sallyport::daemon::ctl
