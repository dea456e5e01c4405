#include "daemon/verify/gateway_tokens.h"

#include "store/admins.h"

namespace sallyport::daemon {

GatewayTokens::GatewayTokens() : entries_(std::make_shared<const std::vector<Entry>>()) {}

void GatewayTokens::load(store::Store& store) {
  auto entries = std::make_shared<std::vector<Entry>>();
  for (const store::Token& token :
       store.read([](store::Unit& unit) { return store::list_tokens(unit); })) {
    if (token.kind == store::TokenKind::gateway && !token.revoked) {
      entries->push_back({token.sha256, token.expires});
    }
  }
  entries_.store(std::move(entries));
}

bool GatewayTokens::knows(std::string_view token, base::Instant now) const {
  if (token.empty()) return false;
  const base::Sha256 sha256 = base::sha256(token);
  const auto entries = entries_.load();
  bool known = false;
  for (const Entry& entry : *entries) {
    if (entry.sha256 == sha256 && (!entry.expires || now < *entry.expires)) known = true;
  }
  return known;
}

}  // namespace sallyport::daemon
