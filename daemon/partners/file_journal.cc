#include "daemon/partners/file_journal.h"

#include "daemon/http/json.h"

namespace sallyport::daemon {

std::string uploader_facts(const SessionPeer& peer) {
  return Json::object({{"address", peer.address},
                       {"banner", peer.banner},
                       {"method", peer.method},
                       {"fingerprint", peer.fingerprint}})
      .dump();
}

}  // namespace sallyport::daemon
