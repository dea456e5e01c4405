#include "daemon/http/json.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <set>

#include "base/bytes.h"

namespace sallyport::daemon {

// ---- the value

Json Json::object(std::initializer_list<Member> members) {
  Json result;
  result.value_ = Object(members);
  return result;
}

Json Json::array(std::initializer_list<Json> items) {
  return Json(Array(items));
}

const Json* Json::find(std::string_view name) const {
  if (const Object* object = if_object()) {
    for (const Member& member : *object) {
      if (member.first == name) return &member.second;
    }
  }
  return nullptr;
}

const Json& Json::operator[](std::string_view name) const {
  static const Json null;
  const Json* found = find(name);
  return found ? *found : null;
}

Json& Json::set(std::string_view name, Json value) {
  if (is_null()) value_ = Object{};
  auto& members = std::get<Object>(value_);
  for (Member& member : members) {
    if (member.first == name) {
      member.second = std::move(value);
      return *this;
    }
  }
  members.emplace_back(std::string(name), std::move(value));
  return *this;
}

Json& Json::set_if(std::string_view name, Json value) {
  return value.is_null() ? *this : set(name, std::move(value));
}

Json& Json::push(Json value) {
  if (is_null()) value_ = Array{};
  std::get<Array>(value_).push_back(std::move(value));
  return *this;
}

namespace {

void write_text(std::string& out, std::string_view text) {
  // What is not UTF-8 (a partner's file name, say) must not make the whole answer unreadable.
  const bool utf8 = base::is_utf8(text);
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (byte < 0x20 || byte == 0x7f) {
          out += fmt::format("\\u{:04x}", byte);
        } else if (byte >= 0x80 && !utf8) {
          out += "\xef\xbf\xbd";
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void new_line(std::string& out, int indent, int level) {
  if (indent == 0) return;
  out += '\n';
  out.append(static_cast<std::size_t>(indent * level), ' ');
}

}  // namespace

void Json::write(std::string& out, int indent, int level) const {
  if (const bool* flag = if_bool()) {
    out += *flag ? "true" : "false";
  } else if (const std::int64_t* integer = if_int()) {
    out += std::to_string(*integer);
  } else if (const double* real = if_double()) {
    out += std::isfinite(*real) ? fmt::format("{}", *real) : "null";
  } else if (const std::string* text = if_string()) {
    write_text(out, *text);
  } else if (const Array* items = if_array()) {
    out += '[';
    bool first = true;
    for (const Json& item : *items) {
      if (!first) out += ',';
      first = false;
      new_line(out, indent, level + 1);
      item.write(out, indent, level + 1);
    }
    if (!items->empty()) new_line(out, indent, level);
    out += ']';
  } else if (const Object* members = if_object()) {
    out += '{';
    bool first = true;
    for (const Member& member : *members) {
      if (!first) out += ',';
      first = false;
      new_line(out, indent, level + 1);
      write_text(out, member.first);
      out += indent == 0 ? ":" : ": ";
      member.second.write(out, indent, level + 1);
    }
    if (!members->empty()) new_line(out, indent, level);
    out += '}';
  } else {
    out += "null";
  }
}

std::string Json::dump() const {
  std::string out;
  write(out, 0, 0);
  return out;
}

std::string Json::pretty() const {
  std::string out;
  write(out, 2, 0);
  return out;
}

// ---- the parser

namespace {

class Parser {
 public:
  Parser(std::string_view text, unsigned max_depth) : text_(text), max_depth_(max_depth) {}

  Json parse_all() {
    if (!base::is_utf8(text_)) fail("the text is not UTF-8");
    Json value = parse_value(0);
    skip_space();
    if (at_ != text_.size()) fail("there is something after the end of the value");
    return value;
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw JsonError(fmt::format("at byte {}: {}", at_, what));
  }

  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }

  [[nodiscard]] char peek() {
    skip_space();
    if (at_ == text_.size()) fail("the text ends in the middle of a value");
    return text_[at_];
  }

  [[nodiscard]] bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  void expect_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) fail("expected a value");
    at_ += word.size();
  }

  Json parse_value(unsigned depth) {
    switch (peek()) {
      case '{':
        return parse_object(depth);
      case '[':
        return parse_array(depth);
      case '"':
        return Json(parse_text());
      case 't':
        expect_word("true");
        return Json(true);
      case 'f':
        expect_word("false");
        return Json(false);
      case 'n':
        expect_word("null");
        return Json();
      default:
        return parse_number();
    }
  }

  void enter(unsigned depth) const {
    if (depth >= max_depth_) fail(fmt::format("nested deeper than {} levels", max_depth_));
  }

  Json parse_object(unsigned depth) {
    enter(depth);
    ++at_;
    Json::Object members;
    std::set<std::string, std::less<>> names;
    if (take('}')) return Json(std::move(members));
    do {
      if (peek() != '"') fail("expected a name in double quotes");
      std::string name = parse_text();
      if (!names.insert(name).second) fail(fmt::format("the name \"{}\" comes twice", name));
      if (!take(':')) fail("expected ':'");
      Json value = parse_value(depth + 1);
      members.emplace_back(std::move(name), std::move(value));
    } while (take(','));
    if (!take('}')) fail("expected ',' or '}'");
    return Json(std::move(members));
  }

  Json parse_array(unsigned depth) {
    enter(depth);
    ++at_;
    Json::Array items;
    if (take(']')) return Json(std::move(items));
    do {
      items.push_back(parse_value(depth + 1));
    } while (take(','));
    if (!take(']')) fail("expected ',' or ']'");
    return Json(std::move(items));
  }

  std::string parse_text() {
    ++at_;
    std::string out;
    for (;;) {
      if (at_ == text_.size()) fail("the text ends within a string");
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return out;
      }
      if (static_cast<unsigned char>(c) < 0x20) fail("a control character within a string");
      if (c == '\\') {
        parse_escape(out);
      } else {
        out += c;
        ++at_;
      }
    }
  }

  void parse_escape(std::string& out) {
    ++at_;
    if (at_ == text_.size()) fail("the text ends within a string");
    static constexpr std::string_view from = "\"\\/bfnrt";
    static constexpr std::string_view to = "\"\\/\b\f\n\r\t";
    const char c = text_[at_];
    if (const auto known = from.find(c); known != std::string_view::npos) {
      out += to[known];
      ++at_;
      return;
    }
    if (c != 'u') fail("an unknown escape within a string");
    ++at_;
    std::uint32_t point = parse_hex4();
    if (point >= 0xd800 && point <= 0xdbff) {
      if (text_.substr(at_, 2) != "\\u") fail("half of a surrogate pair");
      at_ += 2;
      const std::uint32_t low = parse_hex4();
      if (low < 0xdc00 || low > 0xdfff) fail("half of a surrogate pair");
      point = 0x10000 + ((point - 0xd800) << 10U) + (low - 0xdc00);
    } else if (point >= 0xdc00 && point <= 0xdfff) {
      fail("half of a surrogate pair");
    }
    append_utf8(out, point);
  }

  std::uint32_t parse_hex4() {
    const std::string_view digits = text_.substr(at_, 4);
    std::uint32_t value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 4 || error != std::errc{} || end != digits.data() + 4) {
      fail("expected four hex digits after \\u");
    }
    at_ += 4;
    return value;
  }

  static void append_utf8(std::string& out, std::uint32_t point) {
    const auto add = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
    if (point < 0x80) {
      add(point);
    } else if (point < 0x800) {
      add(0xc0U | (point >> 6U));
      add(0x80U | (point & 0x3fU));
    } else if (point < 0x10000) {
      add(0xe0U | (point >> 12U));
      add(0x80U | ((point >> 6U) & 0x3fU));
      add(0x80U | (point & 0x3fU));
    } else {
      add(0xf0U | (point >> 18U));
      add(0x80U | ((point >> 12U) & 0x3fU));
      add(0x80U | ((point >> 6U) & 0x3fU));
      add(0x80U | (point & 0x3fU));
    }
  }

  [[nodiscard]] bool digit() const {
    return at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9';
  }
  void digits() {
    if (!digit()) fail("expected a value");
    while (digit()) ++at_;
  }

  Json parse_number() {
    const std::size_t start = at_;
    bool whole = true;
    if (text_[at_] == '-') ++at_;
    if (at_ < text_.size() && text_[at_] == '0') {
      ++at_;
      if (digit()) fail("a number with a leading zero");
    } else {
      digits();
    }
    if (at_ < text_.size() && text_[at_] == '.') {
      whole = false;
      ++at_;
      digits();
    }
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      whole = false;
      ++at_;
      if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
      digits();
    }
    const char* begin = text_.data() + start;
    const char* end = text_.data() + at_;
    if (std::int64_t integer = 0; whole && std::from_chars(begin, end, integer).ec == std::errc{}) {
      return Json(integer);
    }
    double real = 0;
    if (std::from_chars(begin, end, real).ec != std::errc{}) fail("a number out of range");
    return Json(real);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  unsigned max_depth_;
};

}  // namespace

Json parse_json(std::string_view text, unsigned max_depth) {
  return Parser(text, max_depth).parse_all();
}

}  // namespace sallyport::daemon
