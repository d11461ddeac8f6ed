// What is said about a put of a blob before its reply.
#ifndef MILLRACE_RPC_PUT_METADATA_H_
#define MILLRACE_RPC_PUT_METADATA_H_

namespace millrace::rpc {

// In the initial metadata of BlobService.Put: the blob's bytes are wanted. They
// are not where the initial metadata come without it: the call is over. Sent by
// a master that says so in its answer to Find (proto::FindBlobsReply).
inline constexpr char kWantedMetadata[] = "millrace-wanted";

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_PUT_METADATA_H_
