// A loser tree over sorted streams.
//
// Knuth, TAOCP vol. 3, 5.4.1: the streams are the leaves of a tournament; each
// inner node keeps the loser of the match played there, so that after the
// winner has been taken and its stream advanced, only the matches on the way
// from its leaf to the top are played again, each against the loser kept there.
// Stream i of k has place k + i, and the match above place n is played at node
// n / 2; with five streams:
//
//                  winner
//                    1
//                2       3
//              4   s0  s1  s2
//            s3 s4
//
// Nodes cache the first eight bytes of their key as a number, which decides
// most matches without touching the keys.
#ifndef MILLRACE_ENGINE_MERGE_LOSER_TREE_H_
#define MILLRACE_ENGINE_MERGE_LOSER_TREE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/format/encoding.h"

namespace millrace::engine {

// `Stream` is a RecordStream; where it is a final class, its calls are inlined.
// Equal keys come in the order of their streams. Thread-compatible.
template <typename Stream>
class LoserTree {
 public:
  explicit LoserTree(std::vector<std::unique_ptr<Stream>> streams)
      : streams_(std::move(streams)),
        leaves_(streams_.size()),
        losers_(std::max<size_t>(1, streams_.size())) {}

  // Moves to the next record; false at the end and on an error, then and for
  // ever.
  bool Next() {
    if (!started_) return Start();
    if (failed_ >= 0 || streams_.empty() || leaves_[winner_.leaf].exhausted) {
      return false;
    }
    if (!Advance(winner_.leaf)) return false;
    Replay();
    return !leaves_[winner_.leaf].exhausted;
  }

  // Of the present record; REQUIRES that Next() returned true.
  std::string_view key() const {
    const Leaf& leaf = leaves_[winner_.leaf];
    return {leaf.key, leaf.key_size};
  }
  std::string_view value() const { return streams_[winner_.leaf]->value(); }
  uint64_t key_prefix() const { return winner_.prefix; }
  size_t stream_index() const { return winner_.leaf; }

  // -1 while none has failed.
  int failed_stream() const { return failed_; }
  // OK, or the status of the stream that failed.
  const absl::Status& status() const { return status_; }
  const std::vector<std::unique_ptr<Stream>>& streams() const {
    return streams_;
  }

 private:
  struct Leaf {
    const char* key = nullptr;
    size_t key_size = 0;
    bool exhausted = false;
  };
  // A contestant. An exhausted stream has the greatest prefix there is.
  struct Player {
    uint64_t prefix = std::numeric_limits<uint64_t>::max();
    uint32_t leaf = 0;
  };

  bool Start() {
    started_ = true;
    const size_t k = streams_.size();
    if (k == 0) return false;
    // Winners of all matches, from the leaves up; the losers stay behind.
    std::vector<Player> winners(2 * k);
    for (size_t i = 0; i < k; ++i) {
      winner_ = Player{0, static_cast<uint32_t>(i)};
      if (!Advance(i)) return false;
      winners[k + i] = winner_;
    }
    for (size_t node = k - 1; node >= 1; --node) {
      const Player& a = winners[2 * node];
      const Player& b = winners[2 * node + 1];
      const bool b_wins = Less(b, a);
      winners[node] = b_wins ? b : a;
      losers_[node] = b_wins ? a : b;
    }
    winner_ = winners[1];
    return !leaves_[winner_.leaf].exhausted;
  }

  // Moves stream `i`, which is the winner, on. False: it failed.
  bool Advance(size_t i) {
    Stream& stream = *streams_[i];
    Leaf& leaf = leaves_[i];
    if (stream.Next()) {
      const std::string_view key = stream.key();
      leaf.key = key.data();
      leaf.key_size = key.size();
      winner_.prefix = KeyPrefix(key);
      return true;
    }
    leaf.exhausted = true;
    winner_.prefix = std::numeric_limits<uint64_t>::max();
    if (stream.status().ok()) return true;
    failed_ = static_cast<int>(i);
    status_ = stream.status();
    return false;
  }

  void Replay() {
    Player player = winner_;
    for (size_t node = (streams_.size() + player.leaf) / 2; node >= 1;
         node /= 2) {
      Player& other = losers_[node];
      if (Less(other, player)) std::swap(other, player);
    }
    winner_ = player;
  }

  bool Less(const Player& a, const Player& b) const {
    if (a.prefix != b.prefix) [[likely]]
      return a.prefix < b.prefix;
    return LessByWholeKey(a.leaf, b.leaf);
  }

  bool LessByWholeKey(uint32_t a_index, uint32_t b_index) const {
    const Leaf& a = leaves_[a_index];
    const Leaf& b = leaves_[b_index];
    if (a.exhausted || b.exhausted) return !a.exhausted;
    const size_t common = std::min(a.key_size, b.key_size);
    if (common > 8) {  // The first eight bytes are known to be equal.
      const int order = std::memcmp(a.key + 8, b.key + 8, common - 8);
      if (order != 0) return order < 0;
    }
    // Equal prefixes of short keys differ in trailing zeros at most, so the
    // shorter key is the lesser one.
    if (a.key_size != b.key_size) return a.key_size < b.key_size;
    return a_index < b_index;
  }

  const std::vector<std::unique_ptr<Stream>> streams_;
  std::vector<Leaf> leaves_;
  std::vector<Player> losers_;  // By node, from 1.
  Player winner_;
  bool started_ = false;
  int failed_ = -1;
  absl::Status status_;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_MERGE_LOSER_TREE_H_
