// The partner sheet: what the partner's side needs to connect (spec/gateway.md 1), made to be
// handed over as text, Markdown or HTML.
//
// render_sheet is pure and thread-safe. All that a partner or a key's maker wrote is escaped.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/instant.h"
#include "daemon/config/config.h"
#include "daemon/http/router.h"
#include "daemon/partners/partner_service.h"
#include "sftp/broker.h"

namespace sallyport::daemon {

class BrokerServer;

struct SheetFacts {
  PartnerView partner;
  PartnerPolicy policy;
  std::vector<std::pair<std::string, PartnerPolicy>> of_objects;  ///< what holds in each folder
  std::string organization;
  std::string host;
  std::uint16_t port = 22;
  std::vector<std::string> addresses;        ///< to allow in the partner's firewall
  std::vector<sftp::HostKeyLine> host_keys;  ///< empty: the front is not connected
  std::vector<store::PgpKey> own_keys;
  base::Instant now{};
  base::Seconds login_grace{30};
  std::uint32_t max_attempts = 6;
};

enum class SheetFormat { text, markdown, html };

/// What partners call this machine: gateway.public_host, or the name that it has itself.
[[nodiscard]] std::string public_host(const Config& config);

[[nodiscard]] std::string render_sheet(const SheetFacts& facts, SheetFormat format);

/// GET /rest/organizations/{org}/partners/{name}/sheet?format=text|markdown|html
void add_sheet_route(Router& router, PartnerService& partners, const LiveConfig& config,
                     BrokerServer* broker);

}  // namespace sallyport::daemon
