#include <type_traits>
#include <utility>

#include "sftp/broker.h"

namespace sallyport::sftp {
namespace {

// One walk over the fields of each message serves the encoder and the decoder, so that the two
// cannot disagree.

class Encoder {
 public:
  std::string packet;

  void field(const std::uint8_t& value) { packet.push_back(static_cast<char>(value)); }
  void field(const bool& value) { packet.push_back(value ? 1 : 0); }
  void field(const std::uint16_t& value) { integer(value, 2); }
  void field(const std::uint32_t& value) { integer(value, 4); }
  void field(const std::uint64_t& value) { integer(value, 8); }
  void field(const std::int64_t& value) { integer(static_cast<std::uint64_t>(value), 8); }
  void field(const std::string& value) {
    integer(value.size(), 4);
    packet += value;
  }
  void field(const base::Sha256& value) {
    packet.append(reinterpret_cast<const char*>(value.data()), value.size());
  }
  template <class E>
  requires std::is_enum_v<E>
  void enumerator(const E& value, E) { packet.push_back(static_cast<char>(value)); }
  template <class T, class Walk>
  void list(const std::vector<T>& values, Walk walk) {
    integer(values.size(), 4);
    for (const T& value : values) walk(*this, value);
  }

 private:
  void integer(std::uint64_t value, int bytes) {
    for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) {
      packet.push_back(static_cast<char>(value >> shift));
    }
  }
};

class Decoder {
 public:
  explicit Decoder(std::string_view packet) : rest_(packet) {}

  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool done() const { return good_ && rest_.empty(); }

  void field(std::uint8_t& value) { value = static_cast<std::uint8_t>(integer(1)); }
  void field(bool& value) {
    const std::uint64_t byte = integer(1);
    if (byte > 1) good_ = false;
    value = byte == 1;
  }
  void field(std::uint16_t& value) { value = static_cast<std::uint16_t>(integer(2)); }
  void field(std::uint32_t& value) { value = static_cast<std::uint32_t>(integer(4)); }
  void field(std::uint64_t& value) { value = integer(8); }
  void field(std::int64_t& value) { value = static_cast<std::int64_t>(integer(8)); }
  void field(std::string& value) { value = take(integer(4)); }
  void field(base::Sha256& value) {
    const std::string_view bytes = take(value.size());
    for (std::size_t i = 0; i < bytes.size(); ++i) value[i] = static_cast<std::uint8_t>(bytes[i]);
  }
  template <class E>
  requires std::is_enum_v<E>
  void enumerator(E& value, E last) {
    const std::uint64_t number = integer(1);
    if (number < 1 || number > static_cast<std::uint64_t>(last)) {
      good_ = false;
      return;
    }
    value = static_cast<E>(number);
  }
  template <class T, class Walk>
  void list(std::vector<T>& values, Walk walk) {
    const std::uint64_t count = integer(4);
    // An element is a byte at least, so a count beyond what is left cannot be honest.
    if (count > rest_.size()) good_ = false;
    for (std::uint64_t i = 0; good_ && i < count; ++i) walk(*this, values.emplace_back());
  }

 private:
  std::string_view take(std::uint64_t count) {
    if (count > rest_.size()) {
      good_ = false;
      return {};
    }
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  std::uint64_t integer(std::size_t bytes) {
    std::uint64_t value = 0;
    for (const char byte : take(bytes)) value = value << 8 | static_cast<std::uint8_t>(byte);
    return value;
  }

  std::string_view rest_;
  bool good_ = true;
};

template <class M, class T>
concept Is = std::is_same_v<std::remove_const_t<M>, T>;

constexpr auto walk_text = [](auto& a, auto& text) { a.field(text); };

void walk(auto& a, Is<HostKeyLine> auto& m) {
  a.field(m.algorithm);
  a.field(m.sha256);
  a.field(m.md5);
  a.field(m.public_line);
  a.field(m.sshfp);
  a.field(m.staged);
}
void walk(auto& a, Is<ControlHello> auto& m) {
  a.field(m.process);
  a.field(m.program_version);
  a.list(m.listening, walk_text);
  a.list(m.host_keys, [](auto& inner, auto& key) { walk(inner, key); });
}
void walk(auto& a, Is<FrontConfig> auto& m) {
  a.field(m.login_grace_seconds);
  a.field(m.max_attempts);
  a.field(m.max_connections);
  a.field(m.max_unauthenticated_per_address);
  a.field(m.drain_seconds);
  a.field(m.login_banner);
}
void walk(auto& a, Is<BanUpdate> auto& m) {
  a.field(m.reset);
  a.list(m.bans, [](auto& inner, auto& ban) {
    inner.field(ban.network);
    inner.field(ban.until);
  });
}
void walk(auto& a, Is<RefusalCount> auto& m) {
  a.field(m.network);
  a.field(m.reason);
  a.field(m.count);
}
void walk(auto& a, Is<SessionHello> auto& m) {
  a.field(m.address);
  a.field(m.port);
  a.field(m.client_banner);
  a.field(m.key_exchange);
  a.field(m.cipher);
  a.field(m.mac);
}
void walk(auto& a, Is<LoginQuery> auto& m) {
  a.field(m.user);
  a.enumerator(m.method, LoginMethod::password);
  a.field(m.key);
  a.field(m.signature_verified);
  a.field(m.password);
  a.field(m.proven_key);
}
void walk(auto& a, Is<SessionLimits> auto& m) {
  a.field(m.handles);
  a.field(m.channels);
  a.field(m.idle_seconds);
  a.field(m.max_file_bytes);
  a.field(m.bytes_per_second);
  a.field(m.quota_bytes_left);
  a.field(m.quota_files_left);
}
void walk(auto& a, Is<SessionPolicy> auto& m) {
  a.field(m.read_only);
  a.field(m.subfolders);
  a.field(m.shared);
  a.field(m.start_directory);
  a.enumerator(m.trigger, Trigger::marker);
  a.list(m.not_ready_patterns, walk_text);
  a.field(m.taken_seconds);
}
void walk(auto& a, Is<LoginAnswer> auto& m) {
  a.enumerator(m.outcome, LoginOutcome::refuse);
  a.field(m.delay_ms);
  a.field(m.sentence);
  a.field(m.session_id);
  a.field(m.uploader);
  a.field(m.partner);
  walk(a, m.limits);
  walk(a, m.policy);
}
void walk(auto& a, Is<SessionClose> auto& m) {
  a.field(m.sentence);
}
void walk(auto& a, Is<UploadDone> auto& m) {
  a.field(m.file_id);
  a.field(m.path);
  a.field(m.size);
  a.field(m.sha256);
  a.field(m.line);
  a.field(m.in_spool);
  a.field(m.duration_ms);
  a.field(m.modified);
}
void walk(auto& a, Is<Recorded> auto& m) {
  a.enumerator(m.status, Status::failed);
  a.field(m.sentence);
}
void walk(auto& a, Is<TakenQuery> auto& m) {
  a.field(m.path);
  a.field(m.set_modified);
  a.field(m.used_up);
  a.field(m.size);
}
void walk(auto& a, Is<TakenAnswer> auto& m) {
  a.field(m.taken);
  a.field(m.size);
  a.field(m.modified);
}
void walk(auto& a, Is<HeldFile> auto& m) {
  a.field(m.device);
  a.field(m.inode);
  a.field(m.bytes);
}
void walk(auto& a, Is<UsageReport> auto& m) {
  a.field(m.bytes);
  a.field(m.files);
  a.field(m.wanted_bytes);
  a.field(m.wanted_files);
  a.field(m.freed_bytes);
  a.field(m.freed_files);
  a.field(m.answers);
  a.list(m.held, [](auto& inner, auto& file) { walk(inner, file); });
}
void walk(auto& a, Is<UsageQuery> auto& m) {
  a.field(m.number);
}
void walk(auto& a, Is<UsageAnswer> auto& m) {
  a.field(m.bytes_left);
  a.field(m.files_left);
  a.field(m.granted);
  a.field(m.settles);
}
void walk(auto& a, Is<FileEvent> auto& m) {
  a.enumerator(m.kind, FileEventKind::refused);
  a.field(m.path);
  a.field(m.target);
  a.field(m.detail);
  a.field(m.bytes);
  a.field(m.duration_ms);
  a.field(m.complete);
  a.field(m.after);
}
void walk(auto& /*a*/, Is<EventsSocket> auto& /*m*/) {}
void walk(auto& a, Is<EndProcess> auto& m) {
  a.field(m.process);
}
void walk(auto& a, Is<LoginFailure> auto& m) {
  a.field(m.user);
  a.field(m.reason);
}
void walk(auto& a, Is<SessionEnd> auto& m) {
  a.field(m.reason);
  a.field(m.bytes_received);
  a.field(m.bytes_sent);
  a.field(m.files_received);
  a.field(m.files_sent);
  a.field(m.duration_ms);
}

template <std::size_t I = 0>
bool decode_body(Decoder& decoder, std::uint8_t type, Message& message) {
  if constexpr (I < std::variant_size_v<Message>) {
    if (type != I) return decode_body<I + 1>(decoder, type, message);
    walk(decoder, message.emplace<I>());
    return decoder.done();
  } else {
    return false;
  }
}

}  // namespace

std::string encode(std::uint32_t id, const Message& message) {
  Encoder encoder;
  encoder.field(broker_version);
  encoder.field(static_cast<std::uint8_t>(message.index()));
  encoder.field(id);
  std::visit([&encoder](const auto& body) { walk(encoder, body); }, message);
  if (encoder.packet.size() > broker_max_packet) {
    throw BrokerError("A message of " + std::to_string(encoder.packet.size()) +
                      " bytes between the SFTP front and the daemon is too long.");
  }
  return std::move(encoder.packet);
}

std::optional<Envelope> decode(std::string_view packet) {
  if (packet.size() > broker_max_packet) return std::nullopt;
  Decoder decoder(packet);
  std::uint8_t version = 0;
  std::uint8_t type = 0;
  Envelope envelope;
  decoder.field(version);
  decoder.field(type);
  decoder.field(envelope.id);
  if (!decoder.good() || version != broker_version) return std::nullopt;
  if (!decode_body(decoder, type, envelope.message)) return std::nullopt;
  return envelope;
}

}  // namespace sallyport::sftp
