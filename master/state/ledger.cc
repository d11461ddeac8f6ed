#include "master/state/ledger.h"

#include <string_view>

#include "common/strings.h"

namespace millrace::master {
namespace {

std::string RecordsText(const proto::RecordSum& sum) {
  return Cat(sum.records(), " records (hash ", absl::Hex(sum.hash()), ")");
}

bool Equal(const proto::RecordSum& a, const proto::RecordSum& b) {
  return a.records() == b.records() && a.hash() == b.hash();
}

// Unsigned throughout, so that adding `sign` = -1 times a value subtracts it.
void Accumulate(const proto::RecordSum& from, uint64_t sign,
                proto::RecordSum* to) {
  to->set_records(to->records() + sign * from.records());
  to->set_hash(to->hash() + sign * from.hash());
}

void Accumulate(const proto::Ledger& from, uint64_t sign, proto::Ledger* to) {
  to->set_emitted_records(to->emitted_records() +
                          sign * from.emitted_records());
  to->set_combine_in_records(to->combine_in_records() +
                             sign * from.combine_in_records());
  to->set_output_records(to->output_records() + sign * from.output_records());
  to->set_skipped_records(to->skipped_records() +
                          sign * from.skipped_records());
  if (from.has_combine_out()) {
    Accumulate(from.combine_out(), sign, to->mutable_combine_out());
  }
  if (from.has_written()) {
    Accumulate(from.written(), sign, to->mutable_written());
  }
  if (from.has_fetched()) {
    Accumulate(from.fetched(), sign, to->mutable_fetched());
  }
  if (from.has_merged()) {
    Accumulate(from.merged(), sign, to->mutable_merged());
  }
}

}  // namespace

void AddLedger(const proto::Ledger& task, proto::Ledger* total) {
  Accumulate(task, 1, total);
}

void SubtractLedger(const proto::Ledger& task, proto::Ledger* total) {
  Accumulate(task, ~uint64_t{0}, total);
}

bool IsZero(const proto::Ledger& ledger) {
  auto zero = [](const proto::RecordSum& sum) {
    return sum.records() == 0 && sum.hash() == 0;
  };
  return ledger.emitted_records() == 0 && ledger.combine_in_records() == 0 &&
         ledger.output_records() == 0 && ledger.skipped_records() == 0 &&
         zero(ledger.combine_out()) && zero(ledger.written()) &&
         zero(ledger.fetched()) && zero(ledger.merged());
}

absl::Status CheckMapLedger(const proto::Ledger& map, bool partitioned) {
  if (map.has_combine_out()) {
    if (map.combine_in_records() != map.emitted_records()) {
      return absl::InternalError(
          Av(Cat(map.emitted_records(), " records emitted, ",
                 map.combine_in_records(), " combined")));
    }
    if (!Equal(map.combine_out(), map.written())) {
      return absl::InternalError(
          Av(Cat("combiner gave ", RecordsText(map.combine_out()),
                 ", file holds ", RecordsText(map.written()))));
    }
  } else if (partitioned && map.emitted_records() != map.written().records()) {
    return absl::InternalError(
        Av(Cat(map.emitted_records(), " records emitted, file holds ",
               RecordsText(map.written()))));
  }
  return absl::OkStatus();
}

absl::Status CheckJobLedger(const proto::Ledger& total) {
  if (!Equal(total.written(), total.fetched()) ||
      !Equal(total.fetched(), total.merged())) {
    return absl::InternalError(
        Av(Cat("maps wrote ", RecordsText(total.written()),
               ", reduces fetched ", RecordsText(total.fetched()), ", merged ",
               RecordsText(total.merged()))));
  }
  return absl::OkStatus();
}

std::map<std::string, uint64_t> LedgerLines(const proto::Ledger& ledger) {
  std::map<std::string, uint64_t> lines;
  lines["emitted_records"] = ledger.emitted_records();
  lines["output_records"] = ledger.output_records();
  if (ledger.skipped_records() > 0) {
    lines["skipped_records"] = ledger.skipped_records();
  }
  auto add = [&lines](std::string_view line, const proto::RecordSum& sum) {
    lines[Cat(line, "_records")] = sum.records();
    lines[Cat(line, "_hash")] = sum.hash();
  };
  if (ledger.has_combine_out()) {
    lines["combine_in_records"] = ledger.combine_in_records();
    add("combine_out", ledger.combine_out());
  }
  if (ledger.has_written()) add("written", ledger.written());
  if (ledger.has_fetched()) add("fetched", ledger.fetched());
  if (ledger.has_merged()) add("merged", ledger.merged());
  return lines;
}

}  // namespace millrace::master
