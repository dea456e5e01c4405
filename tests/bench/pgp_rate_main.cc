// Opens PGP messages with the library of the gateway and says how long it took, for pgp_bench.py.
//
//   pgp_rate make HOME                         makes a home with a key; prints the public key
//   pgp_rate import HOME < KEY                 prints the fingerprint
//   pgp_rate open HOME THREADS OUTPUT FILE...  prints the seconds; every verdict must be good
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "pgp/pgp.h"

namespace {

namespace fs = std::filesystem;
namespace pgp = sallyport::pgp;

int open_all(pgp::Engine& engine, unsigned threads, const fs::path& output,
             const std::vector<fs::path>& files) {
  pgp::Acceptance acceptance;
  acceptance.encryption = pgp::Encryption::required;
  acceptance.output_limit_bytes = 10ULL << 30;
  std::atomic<std::size_t> next{0};
  std::atomic<int> refused{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < files.size(); i = next++) {
      const fs::path to = output / (std::to_string(i) + ".out");
      const pgp::Verdict verdict = engine.decrypt_and_verify(files[i], to, acceptance);
      if (!verdict.accepted() || verdict.signatures.empty()) {
        ++refused;
        std::fprintf(stderr, "%s: %s\n", files[i].c_str(),
                     std::string(pgp::code(verdict.reason)).c_str());
      }
      fs::remove(to);
    }
  };
  const auto started = std::chrono::steady_clock::now();
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < threads; ++i) workers.emplace_back(work);
  for (std::thread& worker : workers) worker.join();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
  std::printf("%.4f\n", taken.count());
  return refused == 0 ? 0 : 1;
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() < 2) {
    std::fprintf(stderr, "usage: pgp_rate make|import|open HOME ...\n");
    return 2;
  }
  pgp::EngineOptions options;
  options.home = arguments[1];
  pgp::Engine engine(options);
  engine.start();
  if (arguments[0] == "make") {
    const pgp::Key key = engine.generate_own_key(
        {pgp::OwnKeyType::rsa3072, "Gateway", "gateway@example.com", std::nullopt});
    std::cout << engine.export_public_key(key.fingerprint).value();
    return 0;
  }
  if (arguments[0] == "import") {
    const std::string data((std::istreambuf_iterator<char>(std::cin)), {});
    auto result = engine.import_public_key(data);
    if (!result.key) result = engine.import_own_key(data);
    std::cout << (result.key ? result.key->fingerprint : result.refusal) << "\n";
    return result.key ? 0 : 1;
  }
  if (arguments[0] != "open" || arguments.size() < 5) return 2;
  const auto threads = static_cast<unsigned>(std::stoul(arguments[2]));
  return open_all(engine, threads, arguments[3], {arguments.begin() + 4, arguments.end()});
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pgp_rate: %s\n", error.what());
    return 1;
  }
}
