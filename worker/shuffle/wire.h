// FetchSlice, written by hand: the data of a slice are never copied into a
// message, they follow these bytes as they were read from the file.
#ifndef MILLRACE_WORKER_SHUFFLE_WIRE_H_
#define MILLRACE_WORKER_SHUFFLE_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "proto/messages/shuffle.pb.h"

namespace millrace::worker {

// What stands in front of `data_bytes` bytes of FetchSlice.data. `header` may
// be null. With no data, the whole message.
std::string EncodeSlicePrefix(const proto::FetchHeader* header, uint64_t offset,
                              size_t data_bytes);

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_WIRE_H_
