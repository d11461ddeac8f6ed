#include "master/service/named_blobs.h"

#include <vector>

#include "master/service/check_spec.h"

namespace millrace::master {

std::set<std::string> NamedBlobs(const State& state) {
  std::set<std::string> named;
  for (const auto& [index, job] : state.jobs()) {
    for (std::string& sha256 : BlobsOf(*job->spec)) {
      named.insert(std::move(sha256));
    }
    named.insert(job->plan_sha256);
    named.insert(job->manifest_sha256);
  }
  named.erase("");
  return named;
}

std::set<std::string> NamedBlobs(const proto::LogEntry& entry) {
  std::set<std::string> named;
  switch (entry.entry_case()) {
    case proto::LogEntry::kJobSubmitted:
      for (std::string& sha256 : BlobsOf(entry.job_submitted().spec())) {
        named.insert(std::move(sha256));
      }
      break;
    case proto::LogEntry::kPlanned:
      named.insert(entry.planned().plan_sha256());
      break;
    case proto::LogEntry::kDecided:
      named.insert(entry.decided().manifest_sha256());
      break;
    default:
      break;
  }
  named.erase("");
  return named;
}

void EraseOneBlob(std::multiset<std::string>& blobs,
                  const std::string& sha256) {
  if (const auto one = blobs.find(sha256); one != blobs.end()) blobs.erase(one);
}

}  // namespace millrace::master
