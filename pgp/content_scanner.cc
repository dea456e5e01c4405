#include "pgp/content_scanner.h"

#include <array>
#include <limits>
#include <string_view>

namespace sallyport::pgp {
namespace {

constexpr std::string_view begin_mark = "-----BEGIN PGP ";
constexpr std::string_view end_mark = "-----END PGP ";

/// No line that is looked at is longer: marks and headers' names.
constexpr std::size_t longest_line = 200;

bool is_space(std::uint8_t c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

constexpr std::uint8_t not_base64 = 0xff;

constexpr std::array<std::uint8_t, 256> make_base64_values() {
  std::array<std::uint8_t, 256> values{};
  for (auto& value : values) value = not_base64;
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < digits.size(); ++i)
    values[static_cast<std::uint8_t>(digits[i])] = static_cast<std::uint8_t>(i);
  return values;
}
constexpr auto base64_values = make_base64_values();

std::string_view trimmed(std::string_view line) {
  while (!line.empty() && is_space(static_cast<std::uint8_t>(line.back()))) line.remove_suffix(1);
  return line;
}

}  // namespace

void ArmourScanner::feed(std::span<const std::uint8_t> data) {
  for (const std::uint8_t byte : data) {
    if (state_ == State::bad) return;
    if (state_ == State::body) {
      on_body(byte);
      continue;
    }
    if (state_ == State::after) {
      if (!is_space(byte)) extra_data_ = true;
      continue;
    }
    if (byte == '\n') {
      on_line();
      line_.clear();
      line_is_blank_ = true;
    } else {
      if (!is_space(byte)) line_is_blank_ = false;
      if (line_.size() < longest_line) line_.push_back(static_cast<char>(byte));
    }
  }
  flush();
}

void ArmourScanner::on_line() {
  switch (state_) {
    case State::begin:
      if (!line_is_blank_) on_begin_line();
      return;
    case State::headers:
      return on_header_line();
    case State::text:
      return on_text_line();
    case State::tail:  // the checksum, which gpg looks at
      if (line_.starts_with('-')) {
        state_ = line_.starts_with(end_mark) ? State::after : State::bad;
      } else if (!line_is_blank_ && !line_.starts_with('=')) {
        state_ = State::bad;
      }
      return;
    case State::end:
      state_ = line_.starts_with(end_mark) ? State::after : State::bad;
      return;
    case State::body:
    case State::after:
    case State::bad:
      return;
  }
}

void ArmourScanner::on_begin_line() {
  const std::string_view line = trimmed(line_);
  struct Label {
    std::string_view text;
    Kind kind;
  };
  constexpr std::array labels{
      Label{"MESSAGE-----", Kind::encrypted},
      Label{"SIGNED MESSAGE-----", Kind::clearsigned},
      Label{"SIGNATURE-----", Kind::detached_signature},
      Label{"PUBLIC KEY BLOCK-----", Kind::public_key},
      Label{"PRIVATE KEY BLOCK-----", Kind::secret_key},
  };
  state_ = State::bad;
  if (!line.starts_with(begin_mark)) return;  // a mark without a label has lost its last space
  for (const Label& label : labels) {
    if (line.substr(begin_mark.size()) != label.text) continue;
    label_ = label.kind;
    clearsigned_ = label.kind == Kind::clearsigned;
    state_ = State::headers;
  }
}

void ArmourScanner::on_header_line() {
  if (line_is_blank_) {
    state_ = clearsigned_ && !in_signature_ ? State::text : State::body;
    at_line_start_ = true;
  } else if (line_.find(':') == std::string::npos) {
    state_ = State::bad;
  }
}

/// Lines of a clear-signed text that begin with a dash are escaped by "- ", so a line of dashes is
/// either the signature's beginning or no text that was signed.
void ArmourScanner::on_text_line() {
  if (!line_.starts_with('-') || line_.starts_with("- ")) return;
  in_signature_ = trimmed(line_) == "-----BEGIN PGP SIGNATURE-----";
  state_ = in_signature_ ? State::headers : State::bad;
}

void ArmourScanner::on_body(std::uint8_t byte) {
  const std::uint8_t value = base64_values[byte];
  if (value != not_base64) {
    at_line_start_ = false;
    group_ = group_ << 6 | value;
    if (++group_digits_ < 4) return;
    decoded_.push_back(static_cast<std::uint8_t>(group_ >> 16));
    decoded_.push_back(static_cast<std::uint8_t>(group_ >> 8));
    decoded_.push_back(static_cast<std::uint8_t>(group_));
    group_ = 0;
    group_digits_ = 0;
  } else if (byte == '\n') {
    at_line_start_ = true;
  } else if (byte == '=') {
    if (group_digits_ >= 2) {
      group_ <<= 6 * (4 - group_digits_);
      decoded_.push_back(static_cast<std::uint8_t>(group_ >> 16));
      if (group_digits_ == 3) decoded_.push_back(static_cast<std::uint8_t>(group_ >> 8));
      group_digits_ = 0;
    }
    state_ = State::tail;
    line_ = "=";
    line_is_blank_ = false;
  } else if (byte == '-' && at_line_start_) {
    state_ = State::end;
    line_ = "-";
    line_is_blank_ = false;
  } else if (!is_space(byte)) {
    state_ = State::bad;
  }
}

void ArmourScanner::flush() {
  packets_.feed(decoded_);
  decoded_.clear();
}

Inspection ArmourScanner::finish() {
  // The last line may have no end, or be cut off.
  const bool is_cut = end_mark.starts_with(line_);
  if ((state_ == State::end || state_ == State::tail) && !is_cut) on_line();
  Inspection inner = packets_.finish();
  Inspection report = inner;
  report.armoured = true;
  if (inner.kind == Kind::plain) {
    report.kind = label_;
    report.is_malformed = state_ == State::after || state_ == State::bad;
  }
  if (clearsigned_) {
    report.kind = Kind::clearsigned;
    if (inner.kind != Kind::detached_signature && inner.kind != Kind::plain)
      report.is_malformed = true;
  }
  if (state_ == State::bad) report.is_malformed = true;
  if (state_ != State::after) report.is_complete = false;
  if (extra_data_) report.has_extra_data = true;
  return report;
}

void ContentScanner::feed(std::span<const std::uint8_t> data) {
  if (form_ == Form::undecided && !data.empty()) {
    const std::string_view head(reinterpret_cast<const char*>(data.data()),
                                std::min(data.size(), head_size));
    const std::size_t first = head.find_first_not_of(" \t\r\n");
    if ((data[0] & 0x80) != 0) {
      form_ = Form::binary;
    } else if (first != std::string_view::npos && (first == 0 || head[first - 1] == '\n') &&
               head.substr(first).starts_with(begin_mark)) {
      form_ = Form::armoured;
    } else {
      form_ = Form::plain;
    }
  }
  if (form_ == Form::binary) packets_.feed(data);
  if (form_ == Form::armoured) armour_.feed(data);
}

std::uint64_t ContentScanner::skippable() const {
  if (form_ == Form::binary) return packets_.skippable();
  return form_ == Form::plain ? std::numeric_limits<std::uint64_t>::max() : 0;
}

void ContentScanner::skip(std::uint64_t count) {
  if (form_ == Form::binary) packets_.skip(count);
}

Inspection ContentScanner::finish() {
  if (form_ == Form::binary) return packets_.finish();
  if (form_ == Form::armoured) return armour_.finish();
  return {};
}

}  // namespace sallyport::pgp
