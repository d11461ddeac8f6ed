#include "storage/plan/glob.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/status_macros.h"
#include "common/strings.h"
#include "storage/commit/output_commit.h"

namespace millrace::storage {
namespace {

constexpr size_t kNone = std::string_view::npos;

// The position of the ']' that ends the set opened at pattern[open], or kNone
// when there is none: then the '[' is an ordinary byte, as in fnmatch(3).
size_t SetEnd(std::string_view pattern, size_t open) {
  size_t i = open + 1;
  if (i < pattern.size() && pattern[i] == '!') ++i;
  if (i < pattern.size() && pattern[i] == ']') ++i;  // "[]a]": ']' or 'a'.
  while (i < pattern.size() && pattern[i] != ']') {
    i += pattern[i] == '\\' ? 2 : 1;
  }
  return i < pattern.size() ? i : kNone;
}

// Whether byte `c` is in the set between pattern[open] and pattern[close].
bool SetHolds(std::string_view pattern, size_t open, size_t close,
              unsigned char c) {
  size_t i = open + 1;
  const bool negated = pattern[i] == '!';
  if (negated) ++i;
  const auto take = [&] {
    if (pattern[i] == '\\') ++i;
    return static_cast<unsigned char>(pattern[i++]);
  };
  bool found = false;
  while (i < close) {
    const unsigned char low = take();
    unsigned char high = low;
    if (i + 1 < close && pattern[i] == '-') {
      ++i;
      high = take();
    }
    found |= low <= c && c <= high;
  }
  return found != negated;
}

// One component of a pattern, between two separators.
struct Component {
  enum Kind { kLiteral, kWildcard, kAnyDirectories };
  Kind kind = kLiteral;
  // Of a literal the name, without escapes.
  std::string text;
  // Asks for names that begin with '.' or '_'.
  bool asks_for_hidden = false;
};

Component ParseComponent(std::string_view raw) {
  Component out;
  if (raw == "**") {
    out.kind = Component::kAnyDirectories;
    return out;
  }
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] == '*' || raw[i] == '?' ||
        (raw[i] == '[' && SetEnd(raw, i) != kNone)) {
      out.kind = Component::kWildcard;
    }
    if (raw[i] == '\\' && i + 1 < raw.size()) ++i;
    out.text += raw[i];
  }
  out.asks_for_hidden = out.text[0] == '.' || out.text[0] == '_';
  if (out.kind == Component::kWildcard) out.text = raw;
  return out;
}

struct Pattern {
  std::string root;  // "/" or "".
  std::vector<Component> components;
  bool directories_only = false;  // It ends in a separator.

  bool has_wildcard() const {
    for (const Component& component : components) {
      if (component.kind != Component::kLiteral) return true;
    }
    return false;
  }
};

Pattern ParsePattern(std::string_view text) {
  Pattern out;
  if (!text.empty() && text.front() == '/') out.root = "/";
  out.directories_only = !text.empty() && text.back() == '/';
  while (!text.empty()) {
    const size_t slash = std::min(text.find('/'), text.size());
    const std::string_view raw = text.substr(0, slash);
    text.remove_prefix(std::min(slash + 1, text.size()));
    if (raw.empty() || raw == ".") continue;
    out.components.push_back(ParseComponent(raw));
  }
  return out;
}

// `path` without empty and "." components, so that one file has one spelling.
// Components ".." stay: what they mean depends on symbolic links.
std::string CleanPath(std::string_view path) {
  std::string out = !path.empty() && path.front() == '/' ? "/" : "";
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (name.empty() || name == ".") continue;
    if (!out.empty() && out.back() != '/') out += '/';
    out += name;
  }
  return out;  // Empty: the current directory.
}

// Expands one pattern. The components of a pattern are the states of a small
// automaton: state i in a directory means "component i is still to be matched
// by an entry of it", and state `end` that everything below is wanted. All
// states of a directory are followed at once, so that each directory is listed
// once and each entry judged once, however many `**` there are.
class Expansion {
 public:
  Expansion(FileSystem& fs, std::string_view spelling, Listing* listing)
      : fs_(fs), spelling_(spelling), listing_(listing) {}

  absl::Status Expand() {
    if (spelling_.empty()) {
      return absl::InvalidArgumentError(
          "an input is empty; name a file, a directory or a glob");
    }
    if (spelling_.find('\0') != kNone) {
      return absl::InvalidArgumentError(
          Av(Cat(Name(), " holds a NUL byte, which no path can")));
    }
    absl::StatusOr<FileInfo> literal = fs_.Stat(std::string(spelling_));
    if (literal.ok()) return ExpandNamed(spelling_, *literal);
    pattern_ = ParsePattern(spelling_);
    if (!pattern_.has_wildcard()) {
      // Escapes alone are a pattern too.
      std::string path = pattern_.root;
      for (const Component& component : pattern_.components) {
        path = JoinPath(path, component.text);
      }
      if (pattern_.directories_only) path += '/';
      absl::StatusOr<FileInfo> unescaped = fs_.Stat(path);
      if (unescaped.ok()) return ExpandNamed(path, *unescaped);
      return Missing(literal.status());
    }
    States start;
    AddState(0, &start);
    Enter(pattern_.root, std::move(start));
    MR_RETURN_IF_ERROR(Walk());
    if (!found_file_ && !matched_directory_) {
      return absl::NotFoundError(
          Av(Cat(Name(), " matches no file", Skipped(),
                 "; quote the pattern so that the shell leaves it alone, and "
                 "remember that a relative one begins where the program "
                 "was started")));
    }
    return CheckDirectory();
  }

 private:
  using States = std::vector<size_t>;  // Sorted, each once.
  struct Directory {
    std::string path;  // Empty: the current one.
    States states;
  };
  // What the states of a directory say of one entry.
  struct Verdict {
    States below;         // The states inside, if it is a directory.
    bool wanted = false;  // If it is a file, it is one of those named.
    // A wildcard met it, but it is of a kind that is passed over.
    bool passed_over = false;
    bool hidden = false;
    // It is passed over also if it is no directory nor leads to one.
    bool as_file = false;
  };

  size_t end() const { return pattern_.components.size(); }

  // State i and, as `**` may stand for no directory, those behind it.
  void AddState(size_t i, States* states) const {
    for (;; ++i) {
      const auto at = std::lower_bound(states->begin(), states->end(), i);
      if (at == states->end() || *at != i) states->insert(at, i);
      if (i == end() ||
          pattern_.components[i].kind != Component::kAnyDirectories) {
        return;
      }
    }
  }

  absl::Status ExpandNamed(std::string_view path, const FileInfo& info) {
    MR_RETURN_IF_ERROR(AddNamed(CleanPath(path), info));
    MR_RETURN_IF_ERROR(Walk());
    return CheckDirectory();
  }

  absl::Status Walk() {
    while (!todo_.empty()) {
      Directory directory = std::move(todo_.back());
      todo_.pop_back();
      MR_RETURN_IF_ERROR(Visit(directory));
    }
    return absl::OkStatus();
  }

  absl::Status Visit(const Directory& directory) {
    const bool by_name_only = std::all_of(
        directory.states.begin(), directory.states.end(), [&](size_t i) {
          return i != end() &&
                 pattern_.components[i].kind == Component::kLiteral;
        });
    if (by_name_only) return VisitByName(directory);
    absl::StatusOr<std::vector<DirEntry>> entries =
        fs_.List(directory.path.empty() ? "." : directory.path);
    if (!entries.ok()) {
      // Gone since its parent was listed, or the pattern's own root.
      if (absl::IsNotFound(entries.status())) return absl::OkStatus();
      return Annotate(entries.status(), Name());
    }
    for (const DirEntry& entry : *entries) {
      MR_RETURN_IF_ERROR(VisitEntry(directory, entry));
    }
    return absl::OkStatus();
  }

  // No listing needed: the names are known, and may be "..", too.
  absl::Status VisitByName(const Directory& directory) {
    for (size_t i : directory.states) {
      const std::string path =
          JoinPath(directory.path, pattern_.components[i].text);
      absl::StatusOr<FileInfo> info = fs_.Stat(path);
      if (absl::IsNotFound(info.status())) continue;
      if (!info.ok()) return Annotate(info.status(), Name());
      States below;
      AddState(i + 1, &below);
      const bool wanted = i + 1 == end() && !pattern_.directories_only;
      MR_RETURN_IF_ERROR(AddFound(path, *info, std::move(below), wanted));
    }
    return absl::OkStatus();
  }

  Verdict Judge(const Directory& directory, const DirEntry& entry) const {
    Verdict verdict;
    const bool is_hidden = entry.name[0] == '.' || entry.name[0] == '_' ||
                           IsStagingName(entry.name);
    const bool is_link = entry.kind == FileKind::kSymlink;
    for (size_t i : directory.states) {
      const bool all_below = i == end();
      const bool last = i + 1 == end();
      bool any_directory = false;
      bool asked_for = false;
      if (!all_below) {
        const Component& component = pattern_.components[i];
        if (component.kind == Component::kLiteral) {
          if (component.text != entry.name) continue;
          verdict.wanted |= last && !pattern_.directories_only;
          AddState(i + 1, &verdict.below);
          continue;
        }
        any_directory = component.kind == Component::kAnyDirectories;
        if (!any_directory && !MatchComponent(component.text, entry.name)) {
          continue;
        }
        asked_for = component.asks_for_hidden;
      }
      // `**` and inner components mean directories.
      const bool as_file =
          all_below || (last && !any_directory && !pattern_.directories_only);
      if (!as_file && entry.kind != FileKind::kDirectory && !is_link) continue;
      const bool hidden = is_hidden && !asked_for;
      if (hidden || is_link) {
        verdict.passed_over = true;
        verdict.hidden |= hidden;
        verdict.as_file |= as_file;
        continue;
      }
      verdict.wanted |= as_file;
      AddState(all_below || any_directory ? i : i + 1, &verdict.below);
    }
    return verdict;
  }

  absl::Status VisitEntry(const Directory& directory, const DirEntry& entry) {
    Verdict verdict = Judge(directory, entry);
    if (verdict.below.empty() && !verdict.passed_over) return absl::OkStatus();
    const std::string path = JoinPath(directory.path, entry.name);
    if (verdict.below.empty()) {
      if (entry.kind == FileKind::kSymlink && !verdict.as_file) {
        absl::StatusOr<FileInfo> target = fs_.Stat(path);
        if (!target.ok() || target->kind != FileKind::kDirectory) {
          return absl::OkStatus();
        }
      }
      ++(verdict.hidden ? listing_->hidden_skipped
                        : listing_->symlinks_skipped);
      return absl::OkStatus();
    }
    if (entry.kind == FileKind::kDirectory) {
      Enter(path, std::move(verdict.below));
      return absl::OkStatus();
    }
    // Links get here by name only, and are followed.
    absl::StatusOr<FileInfo> info =
        entry.kind == FileKind::kSymlink ? fs_.Stat(path) : fs_.StatLink(path);
    // Gone since it was listed: the same as gone before.
    if (absl::IsNotFound(info.status())) return absl::OkStatus();
    if (!info.ok()) return Annotate(info.status(), Name());
    return AddFound(path, *info, std::move(verdict.below), verdict.wanted);
  }

  void Enter(std::string path, States states) {
    matched_directory_ |= states.back() == end();
    todo_.push_back({std::move(path), std::move(states)});
  }

  absl::Status AddFound(const std::string& path, const FileInfo& info,
                        States below, bool wanted) {
    if (info.kind == FileKind::kDirectory) {
      Enter(path, std::move(below));
      return absl::OkStatus();
    }
    if (!wanted) return absl::OkStatus();
    return AddFile(path, info);
  }

  // A file or directory under its own name. Whether the file can be read is
  // found out now, while there are few; files met by walking are many, and the
  // reader will say.
  absl::Status AddNamed(const std::string& path, const FileInfo& info) {
    if (info.kind == FileKind::kDirectory) {
      pattern_.components.clear();
      Enter(path, {end()});
      return absl::OkStatus();
    }
    if (info.kind == FileKind::kRegular) {
      absl::StatusOr<std::unique_ptr<ReadFile>> file = fs_.OpenRead(path);
      if (!file.ok()) {
        return Annotate(file.status(),
                        Cat(Name(), " is there but cannot be read"));
      }
    }
    return AddFile(path, info);
  }

  absl::Status AddFile(const std::string& path, const FileInfo& info) {
    if (info.kind != FileKind::kRegular) {
      return absl::InvalidArgumentError(
          Av(Cat(Name(), ": ", Printable(path, 4096),
                 " is no regular file (a device, pipe or socket?); copy its "
                 "contents to a file, or leave it out")));
    }
    listing_->files.push_back({path, info.identity});
    found_file_ = true;
    return absl::OkStatus();
  }

  // A directory without files is an empty input; one in which everything was
  // passed over is more likely a mistake.
  absl::Status CheckDirectory() const {
    if (found_file_ || Skipped().empty()) return absl::OkStatus();
    return absl::NotFoundError(
        Av(Cat(Name(), " holds no file to read", Skipped())));
  }

  absl::Status Missing(const absl::Status& why) const {
    if (!absl::IsNotFound(why)) return Annotate(why, Name());
    if (fs_.StatLink(std::string(spelling_)).ok()) {
      return absl::NotFoundError(
          Av(Cat(Name(), " is a symbolic link that leads nowhere")));
    }
    // Behind a "=", as in --input=~/data, most shells leave it as it is.
    const bool home = spelling_.substr(0, 1) == "~" ||
                      spelling_.find("/~/") != std::string_view::npos;
    return absl::NotFoundError(
        Av(Cat(Name(), ": no such file or directory; ",
               home ? "~ is the shell's word for a home directory, and stands "
                      "for one only where a word begins: --input ~/..."
                    : "check the spelling (a relative path begins where the "
                      "program was started)")));
  }

  std::string Name() const {
    return Cat("input \"", Printable(spelling_, 4096), "\"");
  }

  // "": nothing was passed over.
  std::string Skipped() const {
    const uint64_t hidden = listing_->hidden_skipped - hidden_before_;
    const uint64_t links = listing_->symlinks_skipped - links_before_;
    if (hidden + links == 0) return "";
    std::string out = "; skipped: ";
    if (hidden > 0) {
      out += Cat(hidden, hidden == 1 ? " name" : " names",
                 " beginning with '.' or '_'");
    }
    if (links > 0) {
      out += Cat(hidden > 0 ? " and " : "", links, " symbolic ",
                 links == 1 ? "link" : "links");
    }
    return out + " (name them in full to read them)";
  }

  FileSystem& fs_;
  const std::string_view spelling_;
  Listing* const listing_;
  const uint64_t hidden_before_ = listing_->hidden_skipped;
  const uint64_t links_before_ = listing_->symlinks_skipped;
  Pattern pattern_;
  std::vector<Directory> todo_;
  bool matched_directory_ = false;
  bool found_file_ = false;
};

void SortFiles(Listing* listing) {
  auto& files = listing->files;
  const auto less = [](const ListedFile& a, const ListedFile& b) {
    return a.path < b.path;
  };
  std::sort(files.begin(), files.end(), less);
  const auto equal = [](const ListedFile& a, const ListedFile& b) {
    return a.path == b.path;
  };
  files.erase(std::unique(files.begin(), files.end(), equal), files.end());
}

}  // namespace

bool MatchComponent(std::string_view pattern, std::string_view name) {
  // Where to go on after a mismatch: the last '*' takes one byte more. Earlier
  // ones need no second try, so the time is at most pattern times name.
  size_t star = kNone;
  size_t star_name = 0;
  size_t p = 0;
  size_t n = 0;
  while (n < name.size() || p < pattern.size()) {
    if (p < pattern.size()) {
      if (pattern[p] == '*') {
        star = ++p;
        star_name = n;
        continue;
      }
      if (n < name.size()) {
        const size_t close = pattern[p] == '[' ? SetEnd(pattern, p) : kNone;
        if (close != kNone) {
          if (SetHolds(pattern, p, close,
                       static_cast<unsigned char>(name[n]))) {
            p = close + 1;
            ++n;
            continue;
          }
        } else {
          const size_t byte =
              pattern[p] == '\\' && p + 1 < pattern.size() ? p + 1 : p;
          if ((pattern[p] == '?') || pattern[byte] == name[n]) {
            p = byte + 1;
            ++n;
            continue;
          }
        }
      }
    }
    if (star == kNone || star_name == name.size()) return false;
    p = star;
    n = ++star_name;
  }
  return true;
}

absl::Status ExpandInput(FileSystem& fs, std::string_view pattern,
                         Listing* listing) {
  MR_RETURN_IF_ERROR(Expansion(fs, pattern, listing).Expand());
  SortFiles(listing);
  return absl::OkStatus();
}

absl::StatusOr<Listing> ExpandInputs(FileSystem& fs,
                                     const std::vector<std::string>& patterns) {
  Listing listing;
  for (const std::string& pattern : patterns) {
    MR_RETURN_IF_ERROR(Expansion(fs, pattern, &listing).Expand());
  }
  SortFiles(&listing);
  return listing;
}

}  // namespace millrace::storage
