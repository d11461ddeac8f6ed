// What a fuzzer starts from: make_seeds DIRECTORY writes files of random bytes,
// always the same, from some tens of bytes to some thousands. The fuzzers of
// conversations read their bytes as choices, so this is a long and varied
// conversation, where an empty corpus would begin with none.
#include <cstdint>
#include <fstream>
#include <iostream>
#include <string>

#include "common/random.h"
#include "common/strings.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_seeds DIRECTORY\n";
    return 2;
  }
  constexpr int kPerSize = 8;
  for (const size_t size : {64, 512, 4096}) {
    for (int i = 0; i < kPerSize; ++i) {
      const auto random =
          millrace::Random::Seeded(size + static_cast<uint64_t>(i));
      std::string bytes(size, '\0');
      for (char& byte : bytes) byte = static_cast<char>(random->Uniform(256));
      std::ofstream file(millrace::Cat(argv[1], "/seed-", size, "-", i),
                         std::ios::binary);
      if (!file.write(bytes.data(), static_cast<std::streamsize>(size))) {
        std::cerr << "make_seeds: cannot write below " << argv[1] << "\n";
        return 1;
      }
    }
  }
  return 0;
}
