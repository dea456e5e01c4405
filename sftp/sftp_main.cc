#include "sftp/app.h"

int main(int argc, char** argv) {
  return sallyport::sftp::run_app(argc, argv);
}
