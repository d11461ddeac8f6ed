// The sort of sort.cc with everything written out: a key type with a codec of
// its own, which is what takes the place of a comparator here, and a reducer
// that puts the record together by hand. Same output; what it costs to do
// without the library's types can be measured by comparing the two.
#include <millrace/millrace.h>

#include <array>
#include <cstdint>
#include <cstring>

constexpr size_t kKeyBytes = 10;
using Record = millrace::FixedRecord<100>;

// Ordered as numbers: first `high`, then `low`.
struct SortKey {
  uint64_t high = 0;
  uint16_t low = 0;
};

template <>
struct millrace::KeyCodec<SortKey> {
  static constexpr size_t kFixedBytes = kKeyBytes;

  // Big-endian, so that the order of the bytes is that of the numbers.
  static void EncodeFixed(const SortKey& key, char* bytes) {
    for (int i = 0; i < 8; ++i) {
      bytes[i] = static_cast<char>(key.high >> (56 - 8 * i));
    }
    bytes[8] = static_cast<char>(key.low >> 8);
    bytes[9] = static_cast<char>(key.low);
  }

  static bool Decode(std::string_view bytes, SortKey* key) {
    if (bytes.size() != kKeyBytes) return false;
    key->high = 0;
    for (int i = 0; i < 8; ++i) {
      key->high = key->high << 8 | static_cast<uint8_t>(bytes[i]);
    }
    key->low = static_cast<uint16_t>(static_cast<uint8_t>(bytes[8]) << 8 |
                                     static_cast<uint8_t>(bytes[9]));
    return true;
  }
};

class ReadKey : public millrace::Mapper<Record, SortKey, std::string> {
 public:
  void Map(const Record& record, Output& out) override {
    SortKey key;
    millrace::KeyCodec<SortKey>::Decode(record.bytes.substr(0, kKeyBytes),
                                        &key);
    out.Emit(key, record.bytes.substr(kKeyBytes));
  }
};

class WriteRecord : public millrace::Reducer<SortKey, std::string, std::string,
                                             millrace::NoValue> {
 public:
  void Reduce(KeyView key, Values& rests, Output& out) override {
    std::array<char, Record::kBytes> record;
    millrace::KeyCodec<SortKey>::EncodeFixed(key, record.data());
    for (std::string_view rest : rests) {
      // Always 90 bytes: ReadKey cut them off a record.
      std::memcpy(record.data() + kKeyBytes, rest.data(), rest.size());
      out.Emit({record.data(), record.size()});
    }
  }
};

int main(int argc, char** argv) {
  return millrace::Main(
      argc, argv,
      millrace::Job("sort_custom")
          .Map<ReadKey>()
          .Reduce<WriteRecord>()
          .TotalOrder()
          .OutputFormat<millrace::FixedRecords<Record::kBytes>>());
}
