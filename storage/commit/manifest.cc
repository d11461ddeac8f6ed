#include "storage/commit/manifest.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "common/hash.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::storage {
namespace {

using Json = nlohmann::json;  // Objects are ordered by key.

constexpr char kFormatName[] = "millrace-manifest";
constexpr uint64_t kFormatVersion = 1;
constexpr uint64_t kManifestBytesMax = uint64_t{1} << 30;
constexpr size_t kReadBytes = 1 << 20;

// The file ends in one line of fixed length and the closing brace.
constexpr uint64_t kMax32 = 0xFFFFFFFF;
constexpr uint64_t kMax64 = ~uint64_t{0};
constexpr std::string_view kSelfBegin = "  \"self_xxh3\": \"";
constexpr std::string_view kSelfEnd = "\"\n}\n";
constexpr size_t kHexDigits = 16;

std::string Hex(uint64_t value) { return absl::StrFormat("%016x", value); }

std::optional<uint64_t> FromHex(std::string_view hex) {
  uint64_t value = 0;
  const bool is_hex =
      hex.size() == kHexDigits &&
      std::all_of(hex.begin(), hex.end(),
                  [](char c) {
                    return absl::ascii_isxdigit(static_cast<unsigned char>(c));
                  }) &&
      absl::SimpleHexAtoi(Av(hex), &value);
  return is_hex ? std::optional<uint64_t>(value) : std::nullopt;
}

// Bytes of the UTF-8 sequence that `text` begins with, 0 if it begins with
// none. As RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  const auto tail = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    return tail(1) && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return tail(1) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

// JSON strings are Unicode, names of counters are bytes: what is no UTF-8 is
// shown as "\xNN", four characters a byte.
std::string Text(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const size_t n = Utf8Length(bytes);
    if (n == 0) {
      out += absl::StrFormat("\\x%02x", static_cast<unsigned char>(bytes[0]));
    } else {
      out += bytes.substr(0, n);
    }
    bytes.remove_prefix(std::max<size_t>(n, 1));
  }
  return out;
}

bool IsHashLine(std::string_view name) {
  constexpr std::string_view kEnd = "_hash";
  return name.size() >= kEnd.size() &&
         name.substr(name.size() - kEnd.size()) == kEnd;
}

absl::Status Damaged(std::string_view why) {
  return absl::DataLossError(Av(Cat("the manifest is damaged: ", why)));
}

// Reads members out of one JSON object; the first thing wrong is kept, and
// what is read after it does not matter.
class Members {
 public:
  // `where` names the object in messages: "files[3]".
  Members(const Json& object, std::string where, absl::Status* status)
      : object_(object), where_(std::move(where)), status_(status) {}

  const Json* Get(const char* name, bool (Json::*is_type)() const noexcept,
                  const char* type) {
    static const Json* const kNull = new Json;
    if (!object_.is_object()) {
      Fail(Cat(where_, " is no object"));
      return kNull;
    }
    const auto it = object_.find(name);
    if (it == object_.end()) {
      Fail(Cat(where_, " has no \"", name, "\""));
      return kNull;
    }
    if (!((*it).*is_type)()) {
      Fail(Cat("\"", name, "\" of ", where_, " is no ", type));
      return kNull;
    }
    return &*it;
  }

  std::string GetString(const char* name) {
    const Json* value = Get(name, &Json::is_string, "string");
    return value->is_string() ? value->get<std::string>() : "";
  }

  uint64_t GetUint(const char* name, uint64_t max) {
    const Json* value =
        Get(name, &Json::is_number_unsigned, "number from 0 to 2^64-1");
    if (!value->is_number_unsigned()) return 0;
    const uint64_t number = value->get<uint64_t>();
    if (number > max) Fail(Cat("\"", name, "\" of ", where_, " is too large"));
    return number;
  }

  uint64_t GetHash(const char* name) {
    const std::optional<uint64_t> hash = FromHex(GetString(name));
    if (!hash.has_value()) {
      Fail(Cat("\"", name, "\" of ", where_, " is no hash of 16 digits"));
    }
    return hash.value_or(0);
  }

  void Fail(const std::string& why) {
    if (status_->ok()) *status_ = Damaged(why);
  }

 private:
  const Json& object_;
  const std::string where_;
  absl::Status* const status_;
};

// Names are joined to a directory's path when files are verified or shown.
bool IsFileName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos && name != kManifestName;
}

// `names`: of all files of the output so far.
void ReadFiles(Members& top, const char* list, std::set<std::string>* names,
               std::vector<ManifestFile>* out, absl::Status* status) {
  const Json* files = top.Get(list, &Json::is_array, "array");
  for (size_t i = 0; i < files->size() && status->ok(); ++i) {
    const std::string where = Cat(list, "[", i, "]");
    Members members((*files)[i], where, status);
    ManifestFile& file = out->emplace_back();
    file.name = members.GetString("name");
    file.bytes = members.GetUint("bytes", kMax64);
    file.records = members.GetUint("records", kMax64);
    file.xxh3 = members.GetHash("xxh3");
    file.attempt_uid = members.GetString("attempt");
    if (!IsFileName(file.name) || !names->insert(file.name).second) {
      members.Fail(Cat(where, " is no file name, or stands there twice: \"",
                       Printable(file.name), "\""));
    }
  }
}

absl::StatusOr<Manifest> FromJson(const Json& json) {
  absl::Status status;
  Members top(json, "the manifest", &status);
  if (top.GetString("format") != kFormatName) {
    top.Fail(Cat("its \"format\" is not \"", kFormatName, "\""));
  }
  const uint64_t version = top.GetUint("format_version", kMax64);
  MR_RETURN_IF_ERROR(status);
  if (version != kFormatVersion) {
    return absl::DataLossError(
        Av(Cat("the manifest has format version ", version,
               ", this program reads version ", kFormatVersion,
               "; use the version of Millrace that wrote it, or a newer one")));
  }
  Manifest out;
  out.job_id = top.GetString("job_id");
  out.job_name = top.GetString("job_name");
  out.version = top.GetString("version");
  out.created_at = top.GetString("created_at");
  out.output_format = top.GetString("output_format");
  if (out.output_format == "fixed") {
    out.record_bytes =
        static_cast<uint32_t>(top.GetUint("record_bytes", kMax32));
  }
  out.plan_hash = top.GetString("plan_xxh3");
  out.maps = static_cast<uint32_t>(top.GetUint("maps", kMax32));
  out.partitions = static_cast<uint32_t>(top.GetUint("partitions", kMax32));
  out.input_files = top.GetUint("input_files", kMax64);
  out.input_bytes = top.GetUint("input_bytes", kMax64);

  std::set<std::string> names;
  ReadFiles(top, "files", &names, &out.files, &status);
  if (json.contains("dead_letters")) {
    ReadFiles(top, "dead_letters", &names, &out.dead_letters, &status);
  }
  const Json* groups = top.Get("counters", &Json::is_object, "object");
  for (const auto& [group, counters] : groups->items()) {
    if (!counters.is_object()) top.Fail("a group of counters is no object");
    if (!status.ok()) break;
    for (const auto& [name, value] : counters.items()) {
      if (!value.is_number_integer() ||
          (value.is_number_unsigned() &&
           value.get<uint64_t>() > uint64_t{INT64_MAX})) {
        top.Fail("a counter is no number of 64 bits");
        break;
      }
      out.counters[group][name] = value.get<int64_t>();
    }
  }
  const Json* ledger = top.Get("ledger", &Json::is_object, "object");
  for (const auto& [name, value] : ledger->items()) {
    if (value.is_number_unsigned()) {
      out.ledger[name] = value.get<uint64_t>();
      continue;
    }
    std::optional<uint64_t> hash;
    if (value.is_string()) hash = FromHex(value.get<std::string>());
    if (!hash.has_value()) {
      top.Fail(Cat("ledger line \"", Printable(name),
                   "\" is neither a number nor a hash of 16 digits"));
      break;
    }
    out.ledger[name] = *hash;
  }
  MR_RETURN_IF_ERROR(status);
  return out;
}

Json FilesJson(const std::vector<ManifestFile>& files) {
  Json json = Json::array();
  for (const ManifestFile& file : files) {
    Json& out = json.emplace_back();
    out["name"] = Text(file.name);
    out["bytes"] = file.bytes;
    out["records"] = file.records;
    out["xxh3"] = Hex(file.xxh3);
    out["attempt"] = Text(file.attempt_uid);
  }
  return json;
}

// What is wrong with one file of an output, "" if nothing.
std::string CheckFile(FileSystem& fs, const std::string& path,
                      const ManifestFile& expected, char* buffer,
                      uint64_t* bytes) {
  const absl::StatusOr<FileInfo> info = fs.StatLink(path);
  if (absl::IsNotFound(info.status())) return "is missing";
  if (!info.ok()) return std::string(ToStd(info.status().message()));
  if (info->kind != FileKind::kRegular) return "is no regular file";
  if (info->identity.size != expected.bytes) {
    return Cat("has ", info->identity.size, " bytes, the manifest says ",
               expected.bytes);
  }
  absl::StatusOr<std::unique_ptr<ReadFile>> file = fs.OpenRead(path);
  if (!file.ok()) return std::string(ToStd(file.status().message()));
  StreamHash64 hash;
  for (uint64_t offset = 0; offset < expected.bytes;) {
    const absl::StatusOr<size_t> n =
        (*file)->ReadAt(offset, buffer,
                        static_cast<size_t>(std::min<uint64_t>(
                            kReadBytes, expected.bytes - offset)));
    if (!n.ok()) {
      return Cat("cannot be read at offset ", offset, ": ",
                 ToStd(n.status().message()));
    }
    if (*n == 0) return Cat("ends at ", offset, " while it is read");
    hash.Update({buffer, *n});
    offset += *n;
    *bytes += *n;
  }
  if (hash.Digest() != expected.xxh3) {
    return Cat("holds other bytes: XXH3 ", Hex(hash.Digest()),
               ", the manifest says ", Hex(expected.xxh3));
  }
  return "";
}

}  // namespace

std::string SerializeManifest(const Manifest& manifest) {
  Json json;
  json["format"] = kFormatName;
  json["format_version"] = kFormatVersion;
  json["job_id"] = Text(manifest.job_id);
  json["job_name"] = Text(manifest.job_name);
  json["version"] = Text(manifest.version);
  json["created_at"] = Text(manifest.created_at);
  json["output_format"] = Text(manifest.output_format);
  if (manifest.output_format == "fixed") {
    json["record_bytes"] = manifest.record_bytes;
  }
  json["plan_xxh3"] = Text(manifest.plan_hash);
  json["maps"] = manifest.maps;
  json["partitions"] = manifest.partitions;
  json["input_files"] = manifest.input_files;
  json["input_bytes"] = manifest.input_bytes;
  json["files"] = FilesJson(manifest.files);
  if (!manifest.dead_letters.empty()) {
    json["dead_letters"] = FilesJson(manifest.dead_letters);
  }
  Json& counters = json["counters"] = Json::object();
  for (const auto& [group, values] : manifest.counters) {
    Json& out = counters[Text(group)];
    if (out.is_null()) out = Json::object();
    for (const auto& [name, value] : values) out[Text(name)] = value;
  }
  Json& ledger = json["ledger"] = Json::object();
  for (const auto& [name, value] : manifest.ledger) {
    Json& line = ledger[Text(name)];
    if (IsHashLine(name)) {
      line = Hex(value);
    } else {
      line = value;
    }
  }
  std::string out = json.dump(2);
  out.resize(out.size() - 2);  // "\n}" moves behind one more member.
  out += ",\n";
  out += Cat(kSelfBegin, Hex(Hash64(out)), kSelfEnd);
  return out;
}

absl::StatusOr<Manifest> ParseManifest(std::string_view json) {
  constexpr size_t kTail = kSelfBegin.size() + kHexDigits + kSelfEnd.size();
  if (json.size() < kTail) return Damaged("it is too short");
  const std::string_view body = json.substr(0, json.size() - kTail);
  const std::string_view tail = json.substr(body.size());
  const std::optional<uint64_t> self =
      FromHex(tail.substr(kSelfBegin.size(), kHexDigits));
  if (tail.substr(0, kSelfBegin.size()) != kSelfBegin ||
      tail.substr(kTail - kSelfEnd.size()) != kSelfEnd || !self.has_value()) {
    return Damaged("it does not end in its own hash; was it cut off?");
  }
  if (Hash64(body) != *self) {
    return Damaged(Cat("the XXH3 of its first ", body.size(), " bytes is ",
                       Hex(Hash64(body)), ", its end says ", Hex(*self)));
  }
  try {
    return FromJson(Json::parse(json.begin(), json.end()));
  } catch (const Json::exception& error) {
    return Damaged(Printable(error.what()));
  }
}

absl::StatusOr<Manifest> ReadManifest(FileSystem& fs,
                                      const std::string& output) {
  const std::string path = JoinPath(output, kManifestName);
  absl::StatusOr<std::string> json = ReadWholeFile(fs, path, kManifestBytesMax);
  if (absl::IsNotFound(json.status())) {
    return absl::NotFoundError(Av(
        Cat(Printable(output, 4096),
            fs.Stat(output).ok() ? " is no committed output" : " is not there",
            ": it has no ", kManifestName)));
  }
  if (!json.ok()) return json.status();
  absl::StatusOr<Manifest> manifest = ParseManifest(*json);
  if (!manifest.ok()) {
    return Annotate(manifest.status(), Printable(path, 4096));
  }
  return manifest;
}

absl::StatusOr<VerifyReport> VerifyOutput(FileSystem& fs,
                                          const std::string& output) {
  MR_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(fs, output));
  MR_ASSIGN_OR_RETURN(std::vector<DirEntry> entries, fs.List(output));
  VerifyReport report;
  const auto add = [&](const std::string& name, std::string_view what) {
    report.problems.push_back(
        Cat(Printable(JoinPath(output, name), 4096), " ", what));
  };
  const std::unique_ptr<char[]> buffer(new char[kReadBytes]);
  std::set<std::string_view> known;
  for (const auto* files : {&manifest.files, &manifest.dead_letters}) {
    for (const ManifestFile& file : *files) {
      known.insert(file.name);
      ++report.files;
      const std::string problem = CheckFile(fs, JoinPath(output, file.name),
                                            file, buffer.get(), &report.bytes);
      if (!problem.empty()) add(file.name, problem);
    }
  }
  // What a later job that reads this directory would take for input.
  std::sort(
      entries.begin(), entries.end(),
      [](const DirEntry& a, const DirEntry& b) { return a.name < b.name; });
  for (const DirEntry& entry : entries) {
    if (entry.name[0] == '.' || entry.name[0] == '_') continue;
    if (!known.contains(entry.name)) {
      add(entry.name, "is not in the manifest");
    }
  }
  return report;
}

}  // namespace millrace::storage
