// The record ledger: counts and order-independent hashes that must agree from
// one stage to the next. See design: a job publishes only if they do.
#ifndef MILLRACE_ENGINE_FORMAT_LEDGER_H_
#define MILLRACE_ENGINE_FORMAT_LEDGER_H_

#include <cstdint>
#include <string_view>

#include "common/hash.h"

namespace millrace::engine {

// Hash of one record for order-independent sums. Key and value are hashed apart
// and mixed asymmetrically, so that ("ab","c") and ("a","bc"), or key and value
// exchanged, differ.
inline uint64_t RecordHash(std::string_view key, std::string_view value) {
  const uint64_t k = Hash64(key);
  const uint64_t v = Hash64(value);
  // Rotation and an odd multiplier keep k and v apart; the final multiply makes
  // a sum of many such hashes sensitive to each.
  const uint64_t mixed = (k ^ ((v << 29) | (v >> 35))) * 0x9FB21C651E98DF25u;
  return mixed ^ (mixed >> 32);
}

struct RecordSum {
  uint64_t records = 0;
  uint64_t hash = 0;  // Sum of RecordHash modulo 2^64.

  void Add(std::string_view key, std::string_view value) {
    ++records;
    hash += RecordHash(key, value);
  }
  void Add(const RecordSum& other) {
    records += other.records;
    hash += other.hash;
  }
  friend bool operator==(const RecordSum&, const RecordSum&) = default;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_FORMAT_LEDGER_H_
