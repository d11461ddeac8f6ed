// What a job process may send to its supervisor: frames of any length and
// content, arriving in any pieces.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "proto/messages/task.pb.h"
#include "supervisor/message_channel.h"

namespace millrace::supervisor {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

// Frames as they are read off whole bytes, without pieces: the dumb twin.
// `broken`: a length beyond the limit came after them.
std::vector<std::string> FramesOf(std::string_view stream, bool* broken) {
  std::vector<std::string> frames;
  *broken = false;
  while (stream.size() >= 4) {
    uint64_t length = 0;
    for (int i = 3; i >= 0; --i) {
      length = length << 8 | static_cast<uint8_t>(stream[i]);
    }
    if (length > kMessageBytesMax) {
      *broken = true;
      break;
    }
    if (stream.size() - 4 < length) break;
    frames.emplace_back(stream.substr(4, length));
    stream.remove_prefix(4 + length);
  }
  return frames;
}

void Fuzz(FuzzedDataProvider& data) {
  // Half of the time lengths fit what follows, so that contents are fuzzed too.
  std::string stream;
  while (data.remaining_bytes() > 0 && stream.size() < (64u << 10)) {
    const std::string piece = data.ConsumeRandomLengthString();
    if (data.ConsumeBool()) {
      for (int shift = 0; shift < 32; shift += 8) {
        stream += static_cast<char>(piece.size() >> shift & 0xff);
      }
    }
    stream += piece;
    if (piece.empty() && data.ConsumeBool()) break;
  }
  const size_t piece_bytes = data.ConsumeIntegralInRange<size_t>(1, 5'000);
  const bool eager = data.ConsumeBool();

  bool broken = false;
  const std::vector<std::string> expected = FramesOf(stream, &broken);
  FrameParser parser;
  size_t got = 0;
  const auto take = [&] {
    while (const auto frame = parser.Next()) {
      Require(got < expected.size() && *frame == expected[got]);
      ++got;
      proto::TaskEvent event;
      if (event.ParseFromArray(frame->data(),
                               static_cast<int>(frame->size()))) {
        // What was understood can be said again.
        const auto again = FrameMessage(event);
        Require(again.ok());
        FrameParser other;
        Require(other.Append(*again).ok() && other.Next().has_value() &&
                other.at_boundary());
      }
    }
  };
  bool failed = false;
  for (std::string_view rest = stream; !rest.empty();) {
    const std::string_view piece = rest.substr(0, piece_bytes);
    rest.remove_prefix(piece.size());
    const bool ok = parser.Append(piece).ok();
    Require(!(failed && ok));
    failed = !ok;
    if (eager) take();
  }
  take();
  Require(got == expected.size());
  Require(failed == broken);
}

}  // namespace
}  // namespace millrace::supervisor

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  millrace::supervisor::Fuzz(data);
  return 0;
}
