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

// The slope in t of the plane a + slope * t + c * l that fits samples best, l
// being 1 or 0. Where l is always the same it is that of a line (Frisch and
// Waugh's theorem: what l explains of t and m is taken off first).
class Fit {
 public:
  void Add(double t, double l, double m) {
    ++n_;
    t_ += t;
    l_ += l;
    m_ += m;
    tt_ += t * t;
    tl_ += t * l;
    tm_ += t * m;
    ll_ += l * l;
    lm_ += l * m;
  }
  // 0: nothing changes, or t does with l alone.
  double Slope() const {
    if (n_ == 0) return 0;
    const double tt = tt_ - t_ * t_ / n_;
    const double tl = tl_ - t_ * l_ / n_;
    const double tm = tm_ - t_ * m_ / n_;
    const double ll = ll_ - l_ * l_ / n_;
    const double lm = lm_ - l_ * m_ / n_;
    const double share = ll > 0 ? tl / ll : 0;  // Of t, along with l.
    const double spread = tt - share * tl;
    return spread > 0 ? (tm - share * lm) / spread : 0;
  }

 private:
  double n_ = 0;  // Sums of ones, of t, of t * t, ...
  double t_ = 0;
  double l_ = 0;
  double m_ = 0;
  double tt_ = 0;
  double tl_ = 0;
  double tm_ = 0;
  double ll_ = 0;
  double lm_ = 0;
};

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
    Fit fit;
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
      ++growth.samples;
      fit.Add(absl::ToDoubleHours(sample.at - from), sample.signs.leads ? 1 : 0,
              sample.signs.resident_mib);
      if (sample.at < middle) continue;
      later.descriptors = std::max(later.descriptors, sample.signs.descriptors);
      later.threads = std::max(later.threads, sample.signs.threads);
    }
    for (size_t i = 0; i < in_eighth.size(); ++i) {
      if (in_eighth[i] > 0) growth.course[i] /= in_eighth[i];
    }
    growth.resident_mib = samples.back().signs.resident_mib;
    growth.mib_per_hour = fit.Slope();
    const VitalSigns& before = most[KindOf(growth.name)];
    growth.more_descriptors = later.descriptors - before.descriptors;
    growth.more_threads = later.threads - before.threads;
    all.push_back(std::move(growth));
  }
  return all;
}

}  // namespace millrace::chaostest
