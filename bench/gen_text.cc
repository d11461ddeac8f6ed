// Writes generated data to stdout, the same bytes for the same arguments on
// every machine.
//
//   gen_text --bytes N [--seed S] [--vocabulary V]   text: words whose
//             frequencies follow Zipf's law, as those of real text do; frequent
//             ones are short; lines of about ten words, some capitals and
//             punctuation
//   gen_text --records N [--seed S]   records of 100 bytes that are also lines:
//             10 random printable characters (the key), the record's number,
//             filler, CR LF
#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/random.h"

namespace millrace::bench {
namespace {

constexpr size_t kBlockBytes = 1 << 20;

bool Write(const std::string& block) {
  if (std::fwrite(block.data(), 1, block.size(), stdout) == block.size()) {
    return true;
  }
  std::fprintf(stderr, "gen_text: write: %s\n", std::strerror(errno));
  return false;
}

// Draws i with a probability proportional to weights[i] in constant time.
// Alias method: M. D. Vose, "A linear algorithm for generating random numbers
// with a given distribution", IEEE TSE 17(9), 1991.
class Alias {
 public:
  explicit Alias(std::vector<double> weights)
      : threshold_(weights.size(), 1.0), alias_(weights.size()) {
    double total = 0;
    for (const double weight : weights) total += weight;
    std::vector<uint32_t> small;
    std::vector<uint32_t> large;
    for (uint32_t i = 0; i < weights.size(); ++i) {
      weights[i] *= static_cast<double>(weights.size()) / total;
      (weights[i] < 1 ? small : large).push_back(i);
    }
    while (!small.empty() && !large.empty()) {
      const uint32_t poor = small.back();
      const uint32_t rich = large.back();
      small.pop_back();
      threshold_[poor] = weights[poor];
      alias_[poor] = rich;
      weights[rich] -= 1 - weights[poor];
      if (weights[rich] < 1) {
        large.pop_back();
        small.push_back(rich);
      }
    }
  }

  uint32_t Draw(Random& random) const {
    const uint64_t bits = random.Next64();
    const uint32_t i =
        static_cast<uint32_t>(((bits >> 32) * threshold_.size()) >> 32);
    const double coin =
        static_cast<double>(bits & 0xffffffff) / 4294967296.0;  // 2^32.
    return coin < threshold_[i] ? i : alias_[i];
  }

 private:
  std::vector<double> threshold_;
  std::vector<uint32_t> alias_;
};

// `count` distinct words, the frequent ones first.
std::vector<std::string> Vocabulary(size_t count, Random& random) {
  // Letters about as often as in English.
  static constexpr char kLetters[] =
      "eeeeeeeeeeeetttttttttaaaaaaaaooooooooiiiiiiinnnnnnnsssssshhhhhhrrrrrr"
      "ddddlllluuucccmmmwwfffggyyppbbvk";
  std::vector<std::string> words;
  std::set<std::string> seen;
  while (words.size() < count) {
    const size_t rank = words.size();
    const size_t length = rank < 60     ? 2 + random.Uniform(3)
                          : rank < 1000 ? 3 + random.Uniform(4)
                                        : 4 + random.Uniform(8);
    std::string word;
    for (size_t i = 0; i < length; ++i) {
      word += kLetters[random.Uniform(sizeof kLetters - 1)];
    }
    if (seen.insert(word).second) words.push_back(word);
  }
  return words;
}

bool WriteText(uint64_t bytes, size_t vocabulary, Random& random) {
  const std::vector<std::string> words = Vocabulary(vocabulary, random);
  std::vector<double> weights;
  for (size_t rank = 0; rank < vocabulary; ++rank) {
    // Zipf-Mandelbrot with exponent 1; the shift is that of English prose.
    weights.push_back(1.0 / (static_cast<double>(rank) + 2.7));
  }
  const Alias alias(std::move(weights));
  std::string block;
  uint64_t in_line = 0;
  for (uint64_t done = 0; done < bytes; done += block.size()) {
    block.clear();
    while (block.size() < kBlockBytes) {
      const size_t at = block.size();
      block += words[alias.Draw(random)];
      const uint64_t ornament = random.Uniform(256);
      if (ornament < 10) {
        block[at] = static_cast<char>(block[at] - 'a' + 'A');
      } else if (ornament < 24) {
        block += ornament < 17 ? ',' : '.';
      }
      if (++in_line >= 9 + ornament % 4) {
        block += '\n';
        in_line = 0;
      } else {
        block += ' ';
      }
    }
    if (block.size() > bytes - done) {
      block.resize(bytes - done);
      block.back() = '\n';
    }
    if (!Write(block)) return false;
  }
  return true;
}

bool WriteRecords(uint64_t records, Random& random) {
  constexpr size_t kKeyBytes = 10;
  constexpr size_t kRecordBytes = 100;
  std::string block;
  for (uint64_t i = 0; i < records; ++i) {
    char record[kRecordBytes + 1];
    std::snprintf(record, sizeof record, "%*s  %032llX", int{kKeyBytes}, "",
                  static_cast<unsigned long long>(i));
    // 64 consecutive printable characters: 60 random bits in all.
    uint64_t bits = random.Next64();
    for (size_t k = 0; k < kKeyBytes; ++k, bits >>= 6) {
      record[k] = static_cast<char>('0' + (bits & 63));
    }
    const char filler = static_cast<char>('A' + i % 26);
    std::memset(record + 44, filler, kRecordBytes - 46);
    std::memcpy(record + kRecordBytes - 2, "\r\n", 2);
    block.append(record, kRecordBytes);
    if (block.size() >= kBlockBytes) {
      if (!Write(block)) return false;
      block.clear();
    }
  }
  return Write(block);
}

}  // namespace
}  // namespace millrace::bench

int main(int argc, char** argv) {
  using namespace millrace;  // NOLINT(google-build-using-namespace)
  CLI::App app("Writes generated text or records to stdout.", "gen_text");
  uint64_t bytes = 0;
  uint64_t records = 0;
  uint64_t seed = 1;
  size_t vocabulary = 200'000;
  CLI::Option* text = app.add_option("--bytes", bytes, "Size of the text");
  app.add_option("--records", records, "Number of records")->excludes(text);
  app.add_option("--seed", seed, "Another seed, other data");
  app.add_option("--vocabulary", vocabulary, "Number of distinct words")
      ->check(CLI::Range(1, 5'000'000));
  CLI11_PARSE(app, argc, argv);
  const std::unique_ptr<Random> random = Random::Seeded(seed);
  const bool good = text->count() > 0
                        ? bench::WriteText(bytes, vocabulary, *random)
                        : bench::WriteRecords(records, *random);
  return good && std::fflush(stdout) == 0 ? 0 : 1;
}
