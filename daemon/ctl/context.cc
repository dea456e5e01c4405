// The client half of sallyportctl's frame: requests over admin.sock by Poco.
#include <Poco/Exception.h>
#include <Poco/Net/HTTPClientSession.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/SocketAddress.h>
#include <Poco/Net/StreamSocket.h>
#include <Poco/Timespan.h>
#include <fmt/format.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <memory>

#include "daemon/ctl/command.h"
#include "daemon/http/json.h"

namespace sallyport::daemon::ctl {

namespace {

/// The longest that an answer may take: `clock advance` works off everything that became due.
constexpr long answer_timeout_seconds = 600;

/// Says why the daemon could not be reached, and what to do.
[[noreturn]] void unreachable(const std::string& socket_path, int error, const std::string& text) {
  std::string advice;
  if (error == EACCES || error == EPERM) {
    advice = "you may not: root and members of the group of admin.sock may (sallyport-admin)";
  } else if (error == ENOENT) {
    advice =
        "there is no such socket: is sallyportd running (systemctl status sallyportd)? --socket "
        "names another one";
  } else if (error == ECONNREFUSED) {
    advice = "nobody listens: sallyportd is not running (systemctl status sallyportd)";
  } else if (error == EPROTOTYPE || error == ENOTSOCK) {
    advice = "this is no admin.sock of a daemon";
  } else {
    advice = text;
  }
  throw CtlError(exit_unreachable,
                 fmt::format("cannot reach the daemon at {}: {}", socket_path, advice));
}

class Session {
 public:
  explicit Session(const std::string& socket_path) : path_(socket_path) {
    if (path_.size() >= sizeof(sockaddr_un::sun_path)) {
      throw CtlError(exit_usage, fmt::format("{} is too long for the path of a socket", path_));
    }
    Poco::Net::StreamSocket socket;
    try {
      socket.connect(Poco::Net::SocketAddress(Poco::Net::SocketAddress::UNIX_LOCAL, path_));
    } catch (const Poco::Exception& error) {
      const int number = errno;
      unreachable(path_, error.code() != 0 ? error.code() : number, error.displayText());
    }
    session_ = std::make_unique<Poco::Net::HTTPClientSession>(socket);
    session_->setTimeout(Poco::Timespan(answer_timeout_seconds, 0));
  }

  /// Sends and calls `take` for each piece of the answer's body until it returns false.
  Reply run(const std::string& method, const std::string& path_and_query,
            const std::string& content_type, const std::string& body,
            const std::function<bool(std::string_view, int)>& take) {
    try {
      Poco::Net::HTTPRequest request(method, path_and_query, Poco::Net::HTTPMessage::HTTP_1_1);
      request.setHost("localhost");
      request.setKeepAlive(false);
      if (!body.empty() || method == "POST" || method == "PUT") {
        request.setContentLength64(static_cast<Poco::Int64>(body.size()));
        if (!content_type.empty()) request.setContentType(content_type);
      }
      session_->sendRequest(request) << body;
      Poco::Net::HTTPResponse response;
      std::istream& in = session_->receiveResponse(response);
      Reply reply;
      reply.status = static_cast<int>(response.getStatus());
      for (const auto& [name, value] : response) {
        std::string lower;
        for (const char c : name) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
        reply.headers[lower] = value;
      }
      std::array<char, 65536> buffer;
      while (in.read(buffer.data(), 1), in.gcount() > 0) {
        // What is there already comes along; the first byte is what was waited for.
        const auto more = in.readsome(buffer.data() + 1, buffer.size() - 1);
        const auto count = static_cast<std::size_t>(1 + (more > 0 ? more : 0));
        if (!take({buffer.data(), count}, reply.status)) break;
      }
      return reply;
    } catch (const Poco::Exception& error) {
      throw CtlError(exit_unreachable, fmt::format("the daemon at {} did not answer: {}", path_,
                                                   error.displayText()));
    }
  }

 private:
  std::string path_;
  std::unique_ptr<Poco::Net::HTTPClientSession> session_;
};

/// Problem details (RFC 9457) as one sentence for the terminal.
std::string sentence_of(int status, const std::string& body) {
  try {
    const Json problem = parse_json(body);
    std::string text;
    if (const auto* detail = problem["detail"].if_string()) text = *detail;
    if (text.empty()) {
      if (const auto* title = problem["title"].if_string()) text = *title;
    }
    if (const auto* missing = problem["missingPrivileges"].if_array()) {
      text += "; missing:";
      for (const Json& one : *missing)
        text += " " + (one.if_string() ? *one.if_string() : one.dump());
    }
    if (!text.empty()) return visible(text);
  } catch (const JsonError&) {  // no problem document: the status has to do
  }
  return fmt::format("the daemon answered {}", status);
}

void throw_if_problem(const Reply& reply) {
  if (reply.status < 400) return;
  const int code = reply.status == 404 ? exit_not_found : exit_failure;
  throw CtlError(code, sentence_of(reply.status, reply.body));
}

constexpr const char* json_type = "application/json";

}  // namespace

std::string encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", byte);
    }
  }
  return out;
}

std::string iso_duration(const std::string& typed) {
  const std::size_t digits = typed.find_first_not_of("0123456789");
  if (digits == 0 || digits + 1 != typed.size()) return typed;
  const char unit = typed.back();
  if (unit != 'd' && unit != 'w' && unit != 'y') return typed;
  return "P" + typed.substr(0, digits) + static_cast<char>(unit - 'a' + 'A');
}

Reply Context::send(const std::string& method, const std::string& path_and_query,
                    const std::string& content_type, const std::string& body) {
  std::string received;
  Reply reply =
      Session(socket_path)
          .run(method, path_and_query, content_type, body, [&](std::string_view piece, int) {
            received += piece;
            return true;
          });
  reply.body = std::move(received);
  return reply;
}

Reply Context::get(const std::string& path_and_query) {
  Reply reply = send("GET", path_and_query, "", "");
  throw_if_problem(reply);
  return reply;
}

Reply Context::post(const std::string& path_and_query, const std::string& json_body) {
  Reply reply = send("POST", path_and_query, json_type, json_body);
  throw_if_problem(reply);
  return reply;
}

Reply Context::put(const std::string& path_and_query, const std::string& json_body) {
  Reply reply = send("PUT", path_and_query, json_type, json_body);
  throw_if_problem(reply);
  return reply;
}

Reply Context::del(const std::string& path_and_query) {
  Reply reply = send("DELETE", path_and_query, "", "");
  throw_if_problem(reply);
  return reply;
}

Reply Context::stream(const std::string& path_and_query,
                      const std::function<bool(std::string_view)>& sink) {
  std::string problem_body;
  Reply reply = Session(socket_path)
                    .run("GET", path_and_query, "", "", [&](std::string_view piece, int status) {
                      if (status < 400) return sink(piece);
                      problem_body += piece;
                      return true;
                    });
  reply.body = std::move(problem_body);
  throw_if_problem(reply);
  return reply;
}

std::string Context::org_path(const std::string& rest) {
  if (organization_.empty()) {
    const Json status = parse_json(get("/admin/status").body);
    const auto* name = status["organization"].if_string();
    if (name == nullptr) {
      throw CtlError(exit_failure,
                     "the daemon does not tell its organization: is it as new as this "
                     "sallyportctl?");
    }
    organization_ = *name;
  }
  return "/rest/organizations/" + encode(organization_) + rest;
}

}  // namespace sallyport::daemon::ctl
