#include "master/scheduler/fetch_evidence.h"

namespace millrace::master {

void FetchEvidence::ForgetOld(absl::Duration now) {
  for (auto output = outputs_.begin(); output != outputs_.end();) {
    std::erase_if(output->second.readers, [&](const auto& said) {
      return now - said.second.at > rules_.memory;
    });
    output = output->second.readers.empty() ? outputs_.erase(output)
                                            : std::next(output);
  }
}

std::set<WorkerNumber> FetchEvidence::ReadersOf(WorkerNumber holder) const {
  std::set<WorkerNumber> readers;
  for (const auto& [map, output] : outputs_) {
    if (output.holder != holder) continue;
    for (const auto& [reader, said] : output.readers) readers.insert(reader);
  }
  return readers;
}

bool FetchEvidence::IsSuspect(WorkerNumber reader) const {
  std::set<WorkerNumber> alone;  // Holders.
  for (const auto& [map, output] : outputs_) {
    if (output.readers.count(reader) > 0 &&
        ReadersOf(output.holder).size() == 1) {
      alone.insert(output.holder);
    }
  }
  return alone.size() >= rules_.holders_of_suspect;
}

FetchEvidence::Verdict FetchEvidence::Add(const FetchReport& report,
                                          bool only_reader, bool can_move,
                                          absl::Duration now) {
  Verdict verdict;
  if (report.gone) {
    verdict.lost.push_back(report.map);
    return verdict;
  }
  ForgetOld(now);
  Output& output = outputs_[report.map];
  if (output.uid != report.uid || output.holder != report.holder) {
    output = Output{report.uid, report.holder, {}};
  }
  Said& said = output.readers[report.reader];
  said.at = now;
  said.message = report.message;
  ++said.reports;
  if (ReadersOf(report.holder).size() >= rules_.readers) {
    for (const auto& [map, other] : outputs_) {
      if (other.holder == report.holder) verdict.lost.push_back(map);
    }
    return verdict;
  }
  if (can_move && IsSuspect(report.reader)) {
    verdict.reader_is_suspect = true;
    return verdict;
  }
  if (said.reports >=
      (only_reader ? rules_.reports_of_only : rules_.reports_of_one)) {
    verdict.lost.push_back(report.map);
  }
  return verdict;
}

std::vector<FetchEvidence::Complaint> FetchEvidence::Complaints(
    absl::Duration now) const {
  std::vector<Complaint> complaints;
  for (const auto& [map, output] : outputs_) {
    for (const auto& [reader, said] : output.readers) {
      if (now - said.at > rules_.memory) continue;
      complaints.push_back(
          {map, output.holder, reader, said.reports, said.at, said.message});
    }
  }
  return complaints;
}

}  // namespace millrace::master
