// How a daemon that was told to take a free port says which one it got.
#ifndef MILLRACE_RPC_ADDRESS_FILE_H_
#define MILLRACE_RPC_ADDRESS_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "common/file_system.h"

namespace millrace::rpc {

// Writes "host:port\n" to `path`, in place of what was there. Whoever reads it
// finds all of it or no file. Errors are those of the file system.
absl::Status WriteAddressFile(FileSystem& fs, const std::string& path,
                              const std::string& address);

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_ADDRESS_FILE_H_
