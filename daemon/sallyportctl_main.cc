#include "daemon/ctl/command.h"

int main(int argc, char** argv) {
  return sallyport::daemon::ctl::run_ctl(argc, argv);
}
