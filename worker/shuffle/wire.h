// FetchSlice, written by hand: the data of a large piece are never copied into
// a message, they follow these bytes as they were read from the file.
#ifndef MILLRACE_WORKER_SHUFFLE_WIRE_H_
#define MILLRACE_WORKER_SHUFFLE_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "proto/messages/shuffle.pb.h"

namespace millrace::worker {

// Of one FetchRequest.
inline constexpr int kFetchSectionsMax = 256;

// Appends a piece of a FetchSlice, up to where its `data_bytes` bytes of data
// have to follow. `header` may be null.
void AppendPiece(const proto::FetchHeader* header, uint64_t offset,
                 size_t data_bytes, std::string* to);

// Appends a whole one.
void AppendRefusal(const proto::FetchRefusal& refusal, std::string* to);

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_WIRE_H_
