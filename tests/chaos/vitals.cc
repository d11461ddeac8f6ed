#include "tests/chaos/vitals.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <system_error>

#include "common/strings.h"
#include "supervisor/process_tree.h"

namespace millrace::chaostest {
namespace {

constexpr std::string_view kThreads = "Threads:";

// "master" of "master-2".
std::string KindOf(const std::string& name) {
  return name.substr(0, name.rfind('-'));
}

}  // namespace

bool ReadVitalSigns(pid_t pid, VitalSigns* signs) {
  std::ifstream status(Cat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(kThreads, 0) != 0) continue;
    signs->threads = std::atoi(line.c_str() + kThreads.size());
  }
  const uint64_t resident = supervisor::ResidentBytesOf(pid);
  signs->resident_mib = static_cast<double>(resident) / (1 << 20);
  std::error_code error;
  const std::filesystem::directory_iterator fds(Cat("/proc/", pid, "/fd"),
                                                error);
  if (error || resident == 0) return false;  // A zombie has no memory.
  signs->descriptors =
      static_cast<int>(std::distance(begin(fds), std::filesystem::end(fds)));
  return true;
}

void Vitals::Add(const std::string& name, pid_t pid, absl::Duration at,
                 const VitalSigns& signs) {
  samples_[{name, pid}].push_back({at, signs});
  last_ = std::max(last_, at);
}

std::vector<Growth> Vitals::Of(absl::Duration from) const {
  std::vector<Growth> all;
  const absl::Duration middle = from + (last_ - from) / 2;
  std::map<std::string, VitalSigns> most;  // By kind, in the first half.
  for (const auto& [process, samples] : samples_) {
    VitalSigns& kind = most[KindOf(process.first)];
    for (const Sample& sample : samples) {
      if (sample.at < from || sample.at >= middle) continue;
      kind.descriptors = std::max(kind.descriptors, sample.signs.descriptors);
      kind.threads = std::max(kind.threads, sample.signs.threads);
    }
  }
  for (const auto& [process, samples] : samples_) {
    if (samples.front().at > from || samples.back().at < last_) continue;
    Growth growth;
    growth.name = process.first;
    VitalSigns later;  // The most of the second half.
    double n = 0;
    double t = 0;
    double m = 0;
    double tt = 0;
    double tm = 0;
    std::array<int, 8> in_eighth = {};
    for (const Sample& sample : samples) {
      const auto eighth = std::min<size_t>(
          7, static_cast<size_t>(8 * absl::FDivDuration(sample.at, last_)));
      growth.course[eighth] += sample.signs.resident_mib;
      growth.floor[eighth] =
          in_eighth[eighth] == 0
              ? sample.signs.resident_mib
              : std::min(growth.floor[eighth], sample.signs.resident_mib);
      ++in_eighth[eighth];
      if (sample.at < from) continue;
      const double hours = absl::ToDoubleHours(sample.at - from);
      const double mib = sample.signs.resident_mib;
      ++n;
      t += hours;
      m += mib;
      tt += hours * hours;
      tm += hours * mib;
      if (sample.at < middle) continue;
      later.descriptors = std::max(later.descriptors, sample.signs.descriptors);
      later.threads = std::max(later.threads, sample.signs.threads);
    }
    for (size_t i = 0; i < in_eighth.size(); ++i) {
      if (in_eighth[i] > 0) growth.course[i] /= in_eighth[i];
    }
    const double spread = n * tt - t * t;
    growth.samples = static_cast<int>(n);
    growth.resident_mib = samples.back().signs.resident_mib;
    growth.mib_per_hour = spread > 0 ? (n * tm - t * m) / spread : 0;
    const VitalSigns& before = most[KindOf(growth.name)];
    growth.more_descriptors = later.descriptors - before.descriptors;
    growth.more_threads = later.threads - before.threads;
    all.push_back(std::move(growth));
  }
  return all;
}

}  // namespace millrace::chaostest
