// What a fuzzer of conversations does next, out of its bytes.
#ifndef MILLRACE_TESTS_FUZZ_DICE_H_
#define MILLRACE_TESTS_FUZZ_DICE_H_

#include <fuzzer/FuzzedDataProvider.h>
#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace millrace {

// What cannot be decoded is nothing to be told of.
inline void SilenceProtobuf() {
  static const auto none = google::protobuf::SetLogHandler(nullptr);
  static_cast<void>(none);
}

// One to four edits of some bytes.
inline std::string GarbleBytes(FuzzedDataProvider& data, std::string bytes) {
  for (int edits = data.ConsumeIntegralInRange(1, 4); edits > 0; --edits) {
    const auto at = data.ConsumeIntegralInRange<size_t>(0, bytes.size());
    switch (data.ConsumeIntegralInRange(0, 4)) {
      case 0:
        bytes.insert(at, data.ConsumeRandomLengthString(20));
        break;
      case 1:
        bytes.erase(at, data.ConsumeIntegralInRange<size_t>(1, 20));
        break;
      case 2:  // What stands elsewhere, again.
        bytes.insert(at, bytes.substr(data.ConsumeIntegralInRange<size_t>(
                                          0, bytes.size()),
                                      data.ConsumeIntegralInRange(1, 40)));
        break;
      case 3:
        if (at < bytes.size()) bytes[at] = data.ConsumeIntegral<char>();
        break;
      default:
        if (at < bytes.size()) {
          bytes[at] = static_cast<char>(
              bytes[at] ^ (1 << data.ConsumeIntegralInRange(0, 7)));
        }
    }
  }
  return bytes;
}

// A message as it is, or sometimes as nobody would send it: encoded, changed in
// some bytes, and decoded again, so that every field can have every value that
// travels. What cannot be decoded would have been
// dropped before anybody saw it: then it stays as it is.
template <typename Message>
Message Garble(FuzzedDataProvider& data, Message message, int one_in) {
  if (data.ConsumeIntegralInRange(0, one_in - 1) != 0) return message;
  Message other;
  const std::string bytes = GarbleBytes(data, message.SerializeAsString());
  return other.ParseFromString(bytes) ? other : std::move(message);
}

// Small numbers, so that things meet; and now and then any.
class Dice {
 public:
  explicit Dice(FuzzedDataProvider& data) : data_(data) { SilenceProtobuf(); }

  bool Done() const { return data_.remaining_bytes() == 0; }
  bool OneIn(int n) { return data_.ConsumeIntegralInRange(0, n - 1) == 0; }
  uint32_t Below(uint32_t n) {
    return data_.ConsumeIntegralInRange<uint32_t>(0, n - 1);
  }
  uint32_t Number(uint32_t n) {
    return OneIn(16) ? data_.ConsumeIntegral<uint32_t>() : Below(n);
  }
  template <typename T>
  const T& Of(const std::vector<T>& list) {
    return list[data_.ConsumeIntegralInRange<size_t>(0, list.size() - 1)];
  }
  // What a string field can hold.
  std::string Text() {
    std::string text = Bytes(30);
    for (char& c : text) c = static_cast<char>(c & 0x7f);
    return text;
  }
  std::string Bytes(size_t max) { return data_.ConsumeRandomLengthString(max); }
  std::string Garbled(std::string bytes) {
    return GarbleBytes(data_, std::move(bytes));
  }
  template <typename Message>
  Message Changed(Message message, int one_in = 8) {
    return Garble(data_, std::move(message), one_in);
  }

 private:
  FuzzedDataProvider& data_;
};

}  // namespace millrace

#endif  // MILLRACE_TESTS_FUZZ_DICE_H_
