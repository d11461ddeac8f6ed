// Checks files of 100-byte records that sort should have put in order:
//
//   teravalidate --input=SORTED --output=REPORT
//
// The report is one file of name<TAB>value lines:
//
//   records     how many there are
//   checksum    sum of a hash of every record, in hexadecimal: equal for the
//               input of a sort and its output, whatever the order
//   first_key   in hexadecimal; last_key likewise
//   unordered   records whose key is smaller than that of the record before,
//               within a file or from the end of one to the begin of the next
//   order       "ok", or "broken at" and the place of the first such record
//
// Files follow each other in the order of the number at the end of their name
// (part-00002 before part-00010), then of the name.
#include <millrace/millrace.h>

#include <stdexcept>

#include "jobs/record_hash.h"

namespace {

using Record = millrace::FixedRecord<100>;
constexpr size_t kKeyBytes = 10;

// What one map task has read of one file without a gap. Begin: part number,
// file, offset.
using Begin = std::tuple<uint64_t, std::string, uint64_t>;
struct Piece {
  uint64_t records = 0;
  uint64_t checksum = 0;
  uint64_t unordered = 0;
  uint64_t unordered_at = 0;  // Offset of the first.
  std::string first_key;
  std::string last_key;
};

// The number that the name ends with; 0 if there is none.
uint64_t PartNumber(std::string_view file) {
  uint64_t number = 0;
  size_t begin = file.size();
  while (begin > 0 && file[begin - 1] >= '0' && file[begin - 1] <= '9') --begin;
  for (char digit : file.substr(begin)) {
    number = number * 10 + static_cast<uint64_t>(digit - '0');
  }
  return number;
}

}  // namespace

// A value type of our own: its codec is that of a tuple of its members.
template <>
struct millrace::ValueCodec<Piece> {
  using Fields = std::tuple<uint64_t, uint64_t, uint64_t, uint64_t, std::string,
                            std::string>;
  static void Encode(const Piece& p, std::string* bytes) {
    millrace::AppendValue<Fields>({p.records, p.checksum, p.unordered,
                                   p.unordered_at, p.first_key, p.last_key},
                                  bytes);
  }
  static bool Decode(std::string_view bytes, Piece* p) {
    Fields fields;
    if (!millrace::DecodeValue(bytes, &fields)) return false;
    std::tie(p->records, p->checksum, p->unordered, p->unordered_at,
             p->first_key, p->last_key) = std::move(fields);
    return true;
  }
};

namespace {

class CheckRecords : public millrace::Mapper<Record, Begin, Piece> {
 public:
  void Setup(millrace::Context& context) override { context_ = &context; }

  void Map(const Record& record, Output& out) override {
    if (record.offset != end_ || context_->input_file() != file_) {
      EmitPiece(out);
      file_ = context_->input_file();
      begin_ = record.offset;
      piece_.first_key = record.bytes.substr(0, kKeyBytes);
    }
    const std::string_view key = record.bytes.substr(0, kKeyBytes);
    if (key < piece_.last_key && ++piece_.unordered == 1) {
      piece_.unordered_at = record.offset;
    }
    piece_.last_key.assign(key);
    ++piece_.records;
    piece_.checksum += jobs::HashRecord(record.bytes);
    end_ = record.offset + Record::kBytes;
  }

  void Cleanup(Output& out) override { EmitPiece(out); }

 private:
  void EmitPiece(Output& out) {
    if (piece_.records > 0)
      out.Emit({PartNumber(file_), file_, begin_}, piece_);
    piece_ = Piece();
  }

  millrace::Context* context_ = nullptr;
  std::string file_;
  uint64_t begin_ = 0;
  uint64_t end_ = ~uint64_t{0};
  Piece piece_;
};

// Puts the pieces together: there is one reduce task, which gets all of them in
// the order of their keys.
class Report
    : public millrace::Reducer<Begin, Piece, std::string, std::string> {
 public:
  void Setup(millrace::Context& context) override {
    if (context.num_partitions() != 1) {
      throw std::invalid_argument(
          "teravalidate has one reduce task: no "
          "--reducers, please");
    }
  }

  void Reduce(KeyView key, Values& pieces, Output&) override {
    const auto& [part, file, offset] = key;
    for (const Piece& piece : pieces) {
      if (total_.records == 0) total_.first_key = piece.first_key;
      if (piece.first_key < total_.last_key) CountUnordered(1, file, offset);
      CountUnordered(piece.unordered, file, piece.unordered_at);
      total_.last_key = piece.last_key;
      total_.records += piece.records;
      total_.checksum += piece.checksum;
    }
  }

  void Cleanup(Output& out) override {
    out.Emit("records", std::to_string(total_.records));
    std::string checksum;
    for (int shift = 56; shift >= 0; shift -= 8) {
      checksum += static_cast<char>(total_.checksum >> shift);
    }
    out.Emit("checksum", Hex(checksum));
    out.Emit("first_key", Hex(total_.first_key));
    out.Emit("last_key", Hex(total_.last_key));
    out.Emit("unordered", std::to_string(total_.unordered));
    out.Emit("order", broken_.empty() ? "ok" : "broken at " + broken_);
  }

 private:
  void CountUnordered(uint64_t count, std::string_view file, uint64_t offset) {
    if (count == 0) return;
    if (total_.unordered == 0) {
      broken_ = std::string(file) + ":" + std::to_string(offset);
    }
    total_.unordered += count;
  }

  static std::string Hex(std::string_view bytes) {
    std::string text;
    for (char byte : bytes) {
      text += "0123456789abcdef"[static_cast<unsigned char>(byte) >> 4];
      text += "0123456789abcdef"[byte & 15];
    }
    return text;
  }

  Piece total_;
  std::string broken_;
};

}  // namespace

int main(int argc, char** argv) {
  return millrace::Main(argc, argv,
                        millrace::Job("teravalidate")
                            .Map<CheckRecords>()
                            .Reduce<Report>()
                            .Reducers(1));
}
