// Routes of partners, their keys, our own PGP keys, and bans (spec/gateway.md 1 and 3).
#pragma once

#include "daemon/http/router.h"
#include "daemon/partners/ban_list.h"
#include "daemon/partners/partner_service.h"

namespace sallyport::daemon {

/// Everything outlives the router.
void add_partner_routes(Router& router, PartnerService& partners);
/// Secret keys are made and imported on admin.sock only.
void add_own_key_routes(Router& router, PartnerService& partners);
void add_ban_routes(Router& router, BanList& bans, const base::Clock& clock);

}  // namespace sallyport::daemon
