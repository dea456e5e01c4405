#include "base/error.h"

#include <system_error>

namespace sallyport::base {

SystemError::SystemError(int error_number, const std::string& doing)
    : Error(doing + ": " + std::generic_category().message(error_number)), code_(error_number) {}

}  // namespace sallyport::base
