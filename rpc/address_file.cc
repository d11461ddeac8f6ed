#include "rpc/address_file.h"

#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::rpc {

absl::Status WriteAddressFile(FileSystem& fs, const std::string& path,
                              const std::string& address) {
  const std::string temporary = Cat(path, ".new");
  fs.RemoveFile(temporary).IgnoreError();  // Of a start that was cut off.
  MR_RETURN_IF_ERROR(WriteWholeFile(fs, temporary, Cat(address, "\n")));
  return fs.Rename(temporary, path);
}

}  // namespace millrace::rpc
