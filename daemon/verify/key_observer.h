// How verification hears of a change: whoever changes a key calls this after the commit and before
// the call returns, so that the change is in force on this node's next verification.
//
// Any thread. An implementation does not throw: a change that it cannot take in makes it reload.
#pragma once

#include <string_view>
#include <vector>

#include "store/keys.h"

namespace sallyport::daemon {

class KeyObserver {
 public:
  virtual ~KeyObserver() = default;
  /// A new or changed key with all its values, retired ones too.
  virtual void key_changed(const store::ApiKey& key,
                           const std::vector<store::KeyValue>& values) noexcept = 0;
  virtual void key_deleted(std::string_view id) noexcept = 0;
};

}  // namespace sallyport::daemon
