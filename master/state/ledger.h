// The ledger of a job: sums of records over its winners, which must agree
// before its output may appear.
#ifndef MILLRACE_MASTER_STATE_LEDGER_H_
#define MILLRACE_MASTER_STATE_LEDGER_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "proto/messages/task.pb.h"

namespace millrace::master {

// `total` gains or loses the lines of one task. Hashes wrap around, so losing
// undoes gaining.
void AddLedger(const proto::Ledger& task, proto::Ledger* total);
void SubtractLedger(const proto::Ledger& task, proto::Ledger* total);

// Every line is zero.
bool IsZero(const proto::Ledger& ledger);

// The lines of one map by themselves: emitted = into the combiner; out of it =
// written. `partitioned`: the map writes a map output, not a part file.
// kInternal says what differs.
absl::Status CheckMapLedger(const proto::Ledger& map, bool partitioned);

// The sums over all winners of a job with reduces: written = fetched = merged.
absl::Status CheckJobLedger(const proto::Ledger& total);

// The lines by the names that stand in a manifest.
std::map<std::string, uint64_t> LedgerLines(const proto::Ledger& ledger);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_LEDGER_H_
