// Every entry that ever stood in a log, by place. A log up to some entry is
// told from all others by one number: the chain of its entries' hashes.
#ifndef MILLRACE_TESTS_SIM_RAFT_ENTRY_BOOK_H_
#define MILLRACE_TESTS_SIM_RAFT_ENTRY_BOOK_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "common/hash.h"
#include "raft/core/types.h"

namespace millrace::raftsim {

inline uint64_t HashOfEntry(uint64_t index, uint64_t term, uint8_t kind,
                            std::string_view payload) {
  const uint64_t words[3] = {index, term, kind};
  return Hash64Seeded({reinterpret_cast<const char*>(words), sizeof words},
                      Hash64(payload));
}

// What a log is that ends with an entry of this hash behind `chain`; 0: one
// without entries.
inline uint64_t Extend(uint64_t chain, uint64_t entry_hash) {
  const uint64_t words[2] = {chain, entry_hash};
  return Hash64({reinterpret_cast<const char*>(words), sizeof words});
}

class EntryBook {
 public:
  // False: another log has the same position behind other entries, which log
  // matching rules out (Raft paper, 5.3).
  bool Record(uint64_t index, uint64_t term, uint64_t chain) {
    return chains_.emplace(Key{index, term}, chain).first->second == chain;
  }
  // nullopt: nobody ever had such an entry.
  std::optional<uint64_t> ChainOf(uint64_t index, uint64_t term) const {
    if (index == 0) return 0;
    const auto found = chains_.find(Key{index, term});
    if (found == chains_.end()) return std::nullopt;
    return found->second;
  }

 private:
  struct Key {
    uint64_t index;
    uint64_t term;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const {
      return (key.index * 0x9e3779b97f4a7c15u) ^ (key.term << 32);
    }
  };

  std::unordered_map<Key, uint64_t, KeyHash> chains_;
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_ENTRY_BOOK_H_
