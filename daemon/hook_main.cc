#include "daemon/hook/hook_service.h"

int main(int argc, char** argv) {
  return sallyport::daemon::run_hook_service(argc, argv);
}
