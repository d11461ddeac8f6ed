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
  for (const auto& [process, samples] : samples_) {
    if (samples.front().at > from || samples.back().at < last_) continue;
    Growth growth;
    growth.name = process.first;
    const absl::Duration middle = from + (last_ - from) / 2;
    int descriptors[2] = {0, 0};
    int threads[2] = {0, 0};
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
      ++in_eighth[eighth];
      if (sample.at < from) continue;
      const double hours = absl::ToDoubleHours(sample.at - from);
      const double mib = sample.signs.resident_mib;
      ++n;
      t += hours;
      m += mib;
      tt += hours * hours;
      tm += hours * mib;
      const size_t half = sample.at < middle ? 0 : 1;
      descriptors[half] = std::max(descriptors[half], sample.signs.descriptors);
      threads[half] = std::max(threads[half], sample.signs.threads);
    }
    for (size_t i = 0; i < in_eighth.size(); ++i) {
      if (in_eighth[i] > 0) growth.course[i] /= in_eighth[i];
    }
    const double spread = n * tt - t * t;
    growth.samples = static_cast<int>(n);
    growth.resident_mib = samples.back().signs.resident_mib;
    growth.mib_per_hour = spread > 0 ? (n * tm - t * m) / spread : 0;
    growth.more_descriptors = descriptors[1] - descriptors[0];
    growth.more_threads = threads[1] - threads[0];
    all.push_back(std::move(growth));
  }
  return all;
}

}  // namespace millrace::chaostest
