// Sorts files of 100-byte records by their first 10 bytes:
//
//   sort --input=DIR --output=DIR
//
// The part files, read one after another, are one sorted sequence: TotalOrder
// samples the input for the keys at which to cut. Records of equal keys keep
// the order of the input. teragen makes such files and teravalidate checks
// them.
#include <millrace/millrace.h>

constexpr size_t kKeyBytes = 10;
using Record = millrace::FixedRecord<100>;

class SplitKey : public millrace::Mapper<Record, std::string, std::string> {
 public:
  void Map(const Record& record, Output& out) override {
    out.Emit(record.bytes.substr(0, kKeyBytes), record.bytes.substr(kKeyBytes));
  }
};

class JoinKey : public millrace::Reducer<std::string, std::string> {
 public:
  void Reduce(KeyView key, Values& rests, Output& out) override {
    for (std::string_view rest : rests) out.Emit(key, rest);
  }
};

int main(int argc, char** argv) {
  return millrace::Main(
      argc, argv,
      millrace::Job("sort")
          .Map<SplitKey>()
          .Reduce<JoinKey>()
          .TotalOrder()
          .OutputFormat<millrace::FixedRecords<Record::kBytes>>());
}
