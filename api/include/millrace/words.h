// Cuts text into words, quickly.
#ifndef MILLRACE_WORDS_H_
#define MILLRACE_WORDS_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace millrace {

// Space, TAB, newline, vertical tab, form feed, carriage return: ASCII white
// space whatever the locale.
constexpr bool IsAsciiSpace(char c) {
  return c == ' ' || static_cast<unsigned char>(c - '\t') < 5;
}

// The words of `text`: the longest runs of bytes other than ASCII white space.
//
//   for (std::string_view word : millrace::SplitWords(line.text)) ...
//
// `text` outlives the range. Bytes outside of `text` are never read.
class SplitWords {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = std::string_view;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = std::string_view;

    std::string_view operator*() const {
      return {word_, static_cast<size_t>(word_end_ - word_)};
    }
    Iterator& operator++() {
      Next();
      return *this;
    }
    void operator++(int) { Next(); }
    friend bool operator==(const Iterator& at, std::default_sentinel_t) {
      return at.word_ == nullptr;
    }

   private:
    friend class SplitWords;

    explicit Iterator(std::string_view text)
        : block_(text.data()), end_(text.data() + text.size()) {
      if (!text.empty()) {
        LoadBlock(/*first=*/true);
        Next();
      }
    }

    // A word begins at one edge and ends at the next, or with the text.
    void Next() {
      while (edges_ == 0) {
        if (!NextBlock()) {
          word_ = nullptr;
          return;
        }
      }
      word_ = TakeEdge();
      while (edges_ == 0) {
        if (!NextBlock()) {
          word_end_ = end_;
          return;
        }
      }
      word_end_ = TakeEdge();
    }

    const char* TakeEdge() {
      const char* const edge = block_ + std::countr_zero(edges_);
      edges_ &= edges_ - 1;
      return edge;
    }

    bool NextBlock() {
      if (static_cast<size_t>(end_ - block_) <= kBlockBytes) return false;
      block_ += kBlockBytes;
      LoadBlock(/*first=*/false);
      return true;
    }

    // Finds the edges in the next 64 bytes or what is left: bit i is set where
    // byte i is in a word and the byte before is not, or the other way round.
    // Behind the end of the text lies white space, as far as this goes.
    void LoadBlock(bool first) {
      const size_t left = static_cast<size_t>(end_ - block_);
      const uint64_t in_word = left >= kBlockBytes
                                   ? WordMask64(block_)
                                   : PartialWordMask(block_, left, !first);
      edges_ = in_word ^ (in_word << 1 | in_word_before_);
      in_word_before_ = in_word >> (kBlockBytes - 1);
    }

    const char* word_ = nullptr;
    const char* word_end_ = nullptr;
    uint64_t edges_ = 0;
    const char* block_;
    uint64_t in_word_before_ = 0;  // 0 or 1: of the byte before the block.
    const char* end_;
  };

  explicit SplitWords(std::string_view text) : text_(text) {}

  Iterator begin() const { return Iterator(text_); }
  std::default_sentinel_t end() const { return {}; }

 private:
  static constexpr size_t kBlockBytes = 64;

#if defined(__SSE2__)
  // Bit i: byte i is not white space.
  static uint64_t WordMask16(const char* data) {
    return WordMask16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data)));
  }
  static uint64_t WordMask16(__m128i x) {
    // Unsigned x - '\t' <= 4, as min(x - '\t', 4) == x - '\t'.
    const __m128i shifted = _mm_sub_epi8(x, _mm_set1_epi8('\t'));
    const __m128i controls =
        _mm_cmpeq_epi8(_mm_min_epu8(shifted, _mm_set1_epi8(4)), shifted);
    const __m128i spaces = _mm_cmpeq_epi8(x, _mm_set1_epi8(' '));
    return static_cast<uint64_t>(
        ~_mm_movemask_epi8(_mm_or_si128(controls, spaces)) & 0xffff);
  }
  static uint64_t WordMask64(const char* data) {
    return WordMask16(data) | WordMask16(data + 16) << 16 |
           WordMask16(data + 32) << 32 | WordMask16(data + 48) << 48;
  }
  // REQUIRES: 1 <= size < 64. Loads overlap instead of reading past the end;
  // with `text_before`, 16 bytes of text lie before data + size.
  static uint64_t PartialWordMask(const char* data, size_t size,
                                  bool text_before) {
    if (size >= 16) {
      uint64_t mask = WordMask16(data);
      if (size >= 32) mask |= WordMask16(data + 16) << 16;
      if (size >= 48) mask |= WordMask16(data + 32) << 32;
      return mask | WordMask16(data + size - 16) << (size - 16);
    }
    if (text_before) return WordMask16(data + size - 16) >> (16 - size);
    // Put together in registers: a load of 16 bytes just stored one by one
    // would wait for the stores.
    uint64_t low = 0, high = 0;
    if (size >= 8) {
      low = Load<uint64_t>(data);
      if (size > 8) high = Load<uint64_t>(data + size - 8) >> (8 * (16 - size));
    } else if (size >= 4) {
      low = Load<uint32_t>(data) | uint64_t{Load<uint32_t>(data + size - 4)}
                                       << (8 * (size - 4));
    } else {
      low = Load<uint8_t>(data) |
            uint64_t{Load<uint8_t>(data + size / 2)} << (8 * (size / 2)) |
            uint64_t{Load<uint8_t>(data + size - 1)} << (8 * (size - 1));
    }
    const __m128i x =
        _mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(low));
    // Zeros behind the end are no white space.
    return WordMask16(x) & ((uint64_t{1} << size) - 1);
  }
  template <typename T>
  static T Load(const char* data) {
    T value;
    std::memcpy(&value, data, sizeof value);
    return value;
  }
#else
  static uint64_t WordMask64(const char* data) {
    return PartialWordMask(data, kBlockBytes, false);
  }
  static uint64_t PartialWordMask(const char* data, size_t size, bool) {
    uint64_t mask = 0;
    for (size_t i = 0; i < size; ++i) {
      mask |= static_cast<uint64_t>(!IsAsciiSpace(data[i])) << i;
    }
    return mask;
  }
#endif

  std::string_view text_;
};

}  // namespace millrace

#endif  // MILLRACE_WORDS_H_
