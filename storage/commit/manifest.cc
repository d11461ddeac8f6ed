#include "storage/commit/manifest.h"

#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "absl/strings/str_format.h"
#include "common/hash.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::storage {
namespace {

using nlohmann::json;

constexpr int kFormatVersion = 1;
constexpr uint64_t kManifestBytesMax = uint64_t{1} << 30;
constexpr size_t kReadBytes = 1 << 20;
// The self hash is the last member, so that what it covers is a prefix.
constexpr char kSelfHashKey[] = "\n  \"self_xxh3\": \"";

std::string Hex64(uint64_t value) { return absl::StrFormat("%016x", value); }

std::optional<uint64_t> ParseHex64(const std::string& text) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value, 16);
  if (text.size() != 16 || result.ec != std::errc() || result.ptr != end) {
    return std::nullopt;
  }
  return value;
}

// JSON is UTF-8; names of users' jobs and counters need not be. Those that are
// not are written escaped.
std::string Text(const std::string& bytes) {
  const json parsed = json::parse(
      json(bytes).dump(-1, ' ', false, json::error_handler_t::replace));
  return parsed.get<std::string>() == bytes ? bytes
                                            : Printable(bytes, bytes.size());
}

absl::Status Damaged(std::string_view why) {
  return absl::DataLossError(Av(Cat("the manifest is damaged: ", why)));
}

// Members with their types checked; the first that is wrong is remembered.
class Members {
 public:
  explicit Members(const json& object) : object_(object) {}

  void Get(const char* key, std::string* value) {
    const auto found = Find(key);
    if (found == nullptr) return;
    if (!found->is_string()) return Wrong(key, "is no string");
    *value = found->get<std::string>();
  }
  template <typename Integer>
  void GetNumber(const char* key, Integer* value) {
    const auto found = Find(key);
    if (found == nullptr) return;
    if (!found->is_number_unsigned() ||
        found->get<uint64_t>() > std::numeric_limits<Integer>::max()) {
      return Wrong(key, "is no number in range");
    }
    *value = static_cast<Integer>(found->get<uint64_t>());
  }
  void GetHash(const char* key, uint64_t* value) {
    std::string text;
    Get(key, &text);
    const std::optional<uint64_t> parsed = ParseHex64(text);
    if (!parsed.has_value()) return Wrong(key, "is no 16-digit hash");
    *value = *parsed;
  }
  const json* Find(const char* key) {
    if (object_.is_object() && object_.contains(key)) return &object_[key];
    Wrong(key, "is missing");
    return nullptr;
  }
  void Wrong(const char* key, std::string_view why) {
    if (status_.ok()) status_ = Damaged(Cat("\"", key, "\" ", why));
  }
  const absl::Status& status() const { return status_; }

 private:
  const json& object_;
  absl::Status status_;
};

bool IsHashLine(const std::string& line) { return line.ends_with("_hash"); }

}  // namespace

std::string SerializeManifest(const Manifest& manifest) {
  json files = json::array();
  for (const ManifestFile& file : manifest.files) {
    files.push_back({{"attempt", file.attempt_uid},
                     {"bytes", file.bytes},
                     {"name", file.name},
                     {"records", file.records},
                     {"xxh3", Hex64(file.xxh3)}});
  }
  json counters = json::object();
  for (const auto& [group, values] : manifest.counters) {
    for (const auto& [name, value] : values) {
      counters[Text(group)][Text(name)] = value;
    }
  }
  json ledger = json::object();
  for (const auto& [line, value] : manifest.ledger) {
    if (IsHashLine(line)) {
      ledger[line] = Hex64(value);
    } else {
      ledger[line] = value;
    }
  }
  const json all = {{"counters", counters},
                    {"created_at", manifest.created_at},
                    {"files", files},
                    {"format_version", kFormatVersion},
                    {"input_bytes", manifest.input_bytes},
                    {"input_files", manifest.input_files},
                    {"job_id", manifest.job_id},
                    {"job_name", Text(manifest.job_name)},
                    {"ledger", ledger},
                    {"maps", manifest.maps},
                    {"output_format", manifest.output_format},
                    {"partitions", manifest.partitions},
                    {"plan_xxh3", manifest.plan_hash},
                    {"record_bytes", manifest.record_bytes},
                    {"version", manifest.version}};
  std::string text = all.dump(2);
  // dump() ends with "\n}".
  text.resize(text.size() - 2);
  text += ",";
  const uint64_t self = Hash64(text);
  text += Cat(kSelfHashKey, Hex64(self), "\"\n}\n");
  return text;
}

absl::StatusOr<Manifest> ParseManifest(std::string_view text) {
  const size_t at = text.rfind(kSelfHashKey);
  if (at == std::string_view::npos) return Damaged("it has no self_xxh3");
  const std::string_view covered = text.substr(0, at);
  const std::string expected =
      Cat(kSelfHashKey, Hex64(Hash64(covered)), "\"\n}\n");
  if (text.substr(at) != expected) {
    return Damaged("its own checksum does not fit");
  }
  const json all = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!all.is_object()) return Damaged("it is no JSON object");

  Members members(all);
  Manifest manifest;
  uint32_t version = 0;
  members.GetNumber("format_version", &version);
  MR_RETURN_IF_ERROR(members.status());
  if (version != kFormatVersion) {
    return absl::DataLossError(Av(Cat(
        "the manifest has format version ", version, "; this program reads ",
        kFormatVersion, "; use the Millrace that wrote it, or a newer one")));
  }
  members.Get("created_at", &manifest.created_at);
  members.GetNumber("input_bytes", &manifest.input_bytes);
  members.GetNumber("input_files", &manifest.input_files);
  members.Get("job_id", &manifest.job_id);
  members.Get("job_name", &manifest.job_name);
  members.GetNumber("maps", &manifest.maps);
  members.Get("output_format", &manifest.output_format);
  members.GetNumber("partitions", &manifest.partitions);
  members.Get("plan_xxh3", &manifest.plan_hash);
  members.GetNumber("record_bytes", &manifest.record_bytes);
  members.Get("version", &manifest.version);
  const json* files = members.Find("files");
  const json* counters = members.Find("counters");
  const json* ledger = members.Find("ledger");
  MR_RETURN_IF_ERROR(members.status());

  if (!files->is_array()) return Damaged("\"files\" is no array");
  for (const json& entry : *files) {
    ManifestFile& file = manifest.files.emplace_back();
    Members of(entry);
    of.Get("attempt", &file.attempt_uid);
    of.GetNumber("bytes", &file.bytes);
    of.Get("name", &file.name);
    of.GetNumber("records", &file.records);
    of.GetHash("xxh3", &file.xxh3);
    MR_RETURN_IF_ERROR(of.status());
    // It becomes part of a path.
    if (file.name.empty() || file.name[0] == '.' ||
        file.name.find('/') != std::string::npos ||
        file.name.find('\0') != std::string::npos) {
      return Damaged("a file has a name that no part file has");
    }
  }
  if (!counters->is_object()) return Damaged("\"counters\" is no object");
  for (const auto& [group, values] : counters->items()) {
    if (!values.is_object()) return Damaged("a counter group is no object");
    for (const auto& [name, value] : values.items()) {
      if (!value.is_number_integer()) return Damaged("a counter is no integer");
      manifest.counters[group][name] = value.get<int64_t>();
    }
  }
  if (!ledger->is_object()) return Damaged("\"ledger\" is no object");
  for (const auto& [line, value] : ledger->items()) {
    Members of(*ledger);
    uint64_t number = 0;
    if (IsHashLine(line)) {
      of.GetHash(line.c_str(), &number);
    } else {
      of.GetNumber(line.c_str(), &number);
    }
    MR_RETURN_IF_ERROR(of.status());
    manifest.ledger[line] = number;
  }
  return manifest;
}

absl::StatusOr<Manifest> ReadManifest(FileSystem& fs,
                                      const std::string& output) {
  const std::string path = JoinPath(output, kManifestName);
  absl::StatusOr<std::string> text = ReadWholeFile(fs, path, kManifestBytesMax);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(
        Av(Cat(Printable(output, 4096), " is no committed output: it has no ",
               kManifestName)));
  }
  MR_RETURN_IF_ERROR(text.status());
  absl::StatusOr<Manifest> manifest = ParseManifest(*text);
  if (!manifest.ok()) {
    return Annotate(manifest.status(), Printable(path, 4096));
  }
  return manifest;
}

absl::StatusOr<VerifyReport> VerifyOutput(FileSystem& fs,
                                          const std::string& output) {
  MR_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(fs, output));
  VerifyReport report;
  std::set<std::string> known = {kManifestName};
  std::string buffer(kReadBytes, '\0');
  for (const ManifestFile& file : manifest.files) {
    known.insert(file.name);
    ++report.files;
    const std::string path = JoinPath(output, file.name);
    const auto problem = [&](std::string_view what) {
      report.problems.push_back(Cat(Printable(path, 4096), ": ", what));
    };
    absl::StatusOr<std::unique_ptr<ReadFile>> opened = fs.OpenRead(path);
    if (!opened.ok()) {
      problem(ToStd(opened.status().message()));
      continue;
    }
    StreamHash64 hash;
    uint64_t bytes = 0;
    absl::Status status;
    for (;;) {
      absl::StatusOr<size_t> got =
          (*opened)->ReadAt(bytes, buffer.data(), buffer.size());
      status = got.status();
      if (!got.ok()) break;
      hash.Update(std::string_view(buffer).substr(0, *got));
      bytes += *got;
      if (*got < buffer.size()) break;
    }
    report.bytes += bytes;
    if (!status.ok()) {
      problem(ToStd(status.message()));
    } else if (bytes != file.bytes) {
      problem(Cat("has ", bytes, " bytes, the manifest says ", file.bytes));
    } else if (hash.Digest() != file.xxh3) {
      problem(Cat("has checksum ", Hex64(hash.Digest()), ", the manifest says ",
                  Hex64(file.xxh3)));
    }
  }
  MR_ASSIGN_OR_RETURN(const std::vector<DirEntry> entries, fs.List(output));
  std::set<std::string> unknown;
  for (const DirEntry& entry : entries) {
    if (known.count(entry.name) == 0 && entry.name.starts_with("part-")) {
      unknown.insert(entry.name);
    }
  }
  for (const std::string& name : unknown) {
    report.problems.push_back(Cat(Printable(JoinPath(output, name), 4096),
                                  ": is not in the manifest"));
  }
  return report;
}

}  // namespace millrace::storage
