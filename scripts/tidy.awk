# The rules of scripts/tidy.sh, for the awk of a bare Debian (mawk).
#
#   awk -f tidy.awk CMakeLists... MARK=1 sources...
#
# Paths are relative to the root of the tree. Prints "file:line: [rule] why".

function finding(line, rule, why) {
  print FILENAME ":" line ": [" rule "] " why
  findings++
}

# -------------------------------------------------- folders and their arrows

# The layer that a file of the tree belongs to.
function layer_of(path,    parts, n) {
  n = split(path, parts, "/")
  if (n == 1) return "top"
  if (parts[1] == "millrace") {
    return parts[2] == "internal" ? "api/internal" : "api/include"
  }
  if (path ~ /^api\/include\/millrace\/internal\//) return "api/internal"
  if (path ~ /^api\/include\//) return "api/include"
  if (parts[1] == "proto" && n > 2) return "proto/" parts[2]
  if (path ~ /^raft\/core\//) return "raft/core"
  return parts[1]
}

# from -> to list; "*" means everything. A layer may always use itself. External
# libraries stand here too, under the first part of their include path; the
# standard library and Abseil need no arrow, except where only_std is set.
function draw_arrows() {
  arrows["api/include"] = "api/internal absl/status"
  arrows["api/internal"] = "api/include absl/status"
  arrows["api"] = "api/include api/internal engine storage supervisor common" \
                  " proto/messages CLI nlohmann google"
  arrows["jobs"] = "api/include"
  arrows["engine"] = "common proto/messages google lz4 zstd"
  arrows["storage"] = "common proto/messages google nlohmann"
  arrows["supervisor"] = "common proto/messages google"
  # CLI: of millrace::job_flags, which only programs with a command line link.
  arrows["common"] = "glog xxhash openssl CLI"
  arrows["proto/messages"] = ""
  arrows["proto/services"] = "proto/messages"
  arrows["raft/core"] = "common"
  arrows["raft"] = "raft/core common rpc proto/messages proto/services google" \
                   " grpc grpcpp"
  arrows["rpc"] = "common proto/messages proto/services google grpc grpcpp"
  arrows["master"] = "raft raft/core rpc common proto/messages" \
                     " proto/services google grpc grpcpp CLI nlohmann"
  arrows["worker"] = "engine storage supervisor rpc common proto/messages" \
                     " proto/services google grpc grpcpp CLI nlohmann"
  # supervisor: process descriptors and tables, for cluster up and down.
  arrows["client"] = "rpc supervisor common proto/messages proto/services" \
                     " google grpc grpcpp nlohmann"
  # client: the record of a local cluster and the start of its processes.
  arrows["chaos"] = "client supervisor common CLI nlohmann"
  # storage: cat and verify read committed outputs without a cluster.
  # supervisor: what to do about a failed attempt.
  arrows["cli"] = "client chaos storage supervisor common proto/messages CLI" \
                  " nlohmann google"
  arrows["tests"] = "*"
  arrows["bench"] = "*"
  only_std["api/include"] = only_std["api/internal"] = only_std["jobs"] = 1
}

function allowed(from, to) {
  return from == to || arrows[from] == "*" ||
         index(" " arrows[from] " ", " " to " ") > 0
}

function is_test(path) {
  return path ~ /_test\.(cc|h)$/ || path ~ /^(tests|bench)\// ||
         path ~ /\/testing\//
}

# Checks one #include or import. `name` is what stands between the marks.
function check_include(name, quoted,    from, to, first, n, parts) {
  from = layer_of(FILENAME)
  n = split(name, parts, "/")
  first = parts[1]
  if (name == "glog/logging.h" || first == "glog") {
    if (FILENAME != "common/logging.h") {
      finding(FNR, "logging", "only common/logging.h includes glog, so that " \
              "the library stays replaceable")
    }
    return
  }
  if (is_test(FILENAME) &&
      (first == "gtest" || first == "gmock" || name ~ /^tests\/testing\//)) {
    return
  }
  if (first == "absl") {
    if (only_std[from] && name !~ /^absl\/status\// && !is_test(FILENAME)) {
      finding(FNR, "arrow", from " may use of Abseil only absl/status")
    }
    return
  }
  if (n == 1) {
    if (name ~ /^xxhash\.h$|^lz4.*\.h$|^zstd.*\.h$/) {
      sub(/[._h].*$/, "", first)
      if (name ~ /^xxhash/) first = "xxhash"
      if (name ~ /^lz4/) first = "lz4"
      if (!allowed(from, first)) {
        finding(FNR, "arrow", from " may not use " name)
      }
    } else if (quoted) {
      finding(FNR, "include", "includes start at the root of the tree: \"" \
              name "\" has no folder")
    }
    return
  }
  if (first == "sys" || first == "netinet" || first == "arpa" ||
      first == "linux" || first == "bits" || first == "ext") {
    if (only_std[from] && !is_test(FILENAME)) {
      finding(FNR, "arrow", from " may use the standard library and no <" \
              name ">")
    }
    return
  }
  to = layer_of(name)
  if (first == "CLI" || first == "nlohmann" || first == "google" ||
      first == "grpc" || first == "grpcpp") {
    to = first
  }
  if (!(from in arrows)) return  # Said once per file, by check_layer.
  if (!allowed(from, to)) {
    finding(FNR, "arrow", from " may not depend on " to " (docs/ARCHITECTURE" \
            ".md has the arrows): \"" name "\"")
  }
}

# The links of a folder's library are its arrows too.
function check_link(name,    to) {
  to = name
  if (to == "api") to = "api/include"
  sub(/^proto_/, "proto/", to)
  if (to == "raft_transport") to = "raft"
  sub(/^raft_/, "raft/", to)
  sub(/^master_.*/, "master", to)  # master_state, master_scheduler.
  sub(/^rpc_.*/, "rpc", to)
  sub(/^worker_.*/, "worker", to)
  sub(/^chaos_.*/, "chaos", to)
  if (to == "testing") to = "tests"
  if (to == "sha256" || to == "job_flags" || to == "tcp_proxy") to = "common"
  if (to == "fake_cluster") to = "client"
  if (!allowed(layer_of(FILENAME), to) && layer_of(FILENAME) != "api") {
    finding(FNR, "arrow", "the target of " layer_of(FILENAME) \
            " may not link millrace::" name)
  }
}

# ------------------------------------------------------------------- strays

function stray(code, pattern, rule, why) {
  if (code ~ pattern && index($0, "tidy: " rule) == 0) {
    finding(FNR, rule, why)
  }
}

function check_strays(code) {
  if (FILENAME != "common/real_clock.cc") {
    stray(code, "absl::Now\\(|::(system|steady|high_resolution)_clock|" \
          "(^|[^A-Za-z0-9_.>])(gettimeofday|clock_gettime|time)\\(", "clock",
          "time is an argument: take a Clock&")
  }
  if (FILENAME != "common/random.cc") {
    stray(code, "random_device|getrandom\\(|getentropy\\(|BitGen|" \
          "(^|[^A-Za-z0-9_.>])s?rand\\(", "random",
          "randomness is an argument: take a Random&")
  }
  stray(code, "absl::SleepFor|sleep_for|sleep_until|" \
        "(^|[^A-Za-z0-9_.>])(u|nano|clock_nano)?sleep\\(", "sleep",
        "wait for a condition, do not sleep")
  stray(code, "(^|[^A-Za-z0-9_.>])(std::)?(system|popen)\\(", "shell",
        "start programs with posix_spawn and arguments, not through a shell")
  # Tests play the part of user code, which may do what it likes.
  if (!is_test(FILENAME)) {
    stray(code, "(^|[^A-Za-z0-9_.>])v?fork\\(", "fork",
          "never fork without exec: use posix_spawn")
  }
  stray(code, "std::hash|absl::Hash", "hash",
        "common/hash.h has hashes that are equal in every process")
  if (FILENAME !~ /^(cli|common)\// && !is_test(FILENAME) &&
      FILENAME !~ /^api\/src\/(main|flags|local\/)/) {
    stray(code, "(^|[^A-Za-z0-9_.>])(std::)?(secure_)?getenv\\(", "getenv",
          "only the edges (cli, api/src/main, flags and local) may read the " \
          "environment")
  }
  if (only_std[layer_of(FILENAME)] && !is_test(FILENAME) &&
      code ~ /absl::/ && code !~ /absl::(Status|StatusOr|StatusCode|[A-Z][A-Za-z]*Error|OkStatus)/) {
    finding(FNR, "arrow", layer_of(FILENAME) \
            " may use of Abseil only Status and StatusOr")
  }
}

# What is left of a line without comments and string contents. Keeps track of
# block comments in `in_block`. Good enough for code in our style; raw strings
# are not understood.
function code_of(line,    out, at, rest) {
  if (in_block) {
    at = index(line, "*/")
    if (!at) return ""
    in_block = 0
    line = substr(line, at + 2)
  }
  gsub(/\\\\/, "", line)
  gsub(/\\"/, "", line)
  gsub(/'"'/, "' '", line)
  gsub(/"[^"]*"/, "\"\"", line)
  sub(/\/\/.*$/, "", line)
  while ((at = index(line, "/*")) > 0) {
    rest = substr(line, at + 2)
    out = substr(line, 1, at - 1)
    at = index(rest, "*/")
    if (!at) {
      in_block = 1
      return out
    }
    line = out " " substr(rest, at + 2)
  }
  return line
}

# -------------------------------------------------------------- per file

function expected_guard(path) {
  sub(/^api\/include\/millrace\//, "", path)
  gsub(/[\/.-]/, "_", path)
  return "MILLRACE_" toupper(path) "_"
}

function begin_file() {
  in_block = 0
  guard_seen = ""
  is_source = FILENAME ~ /\.(cc|h)$/
  is_proto = FILENAME ~ /\.proto$/
  is_cmake = FILENAME ~ /CMakeLists\.txt$|\.cmake$/
  in_library = 0
  if ((is_source || is_proto) && !(layer_of(FILENAME) in arrows)) {
    finding(1, "arrow", "the folder of this file is not in the table of " \
            "arrows (scripts/tidy.awk)")
  }
  if (FILENAME ~ /\.cc$/ && !is_listed(FILENAME)) {
    finding(1, "unlisted", "no CMakeLists.txt above names this file, so " \
            "nobody compiles it")
  }
}

function end_file(name, lines) {
  if (lines > 600) {
    print name ":" lines ": [length] " lines " lines; past 600, look for the" \
          " second idea"
    findings++
  }
  if (name ~ /\.h$/ && guard_seen != expected_guard(name)) {
    print name ":1: [guard] the include guard should be " expected_guard(name)
    findings++
  }
}

# Whether some CMakeLists.txt in a folder above names the file, in full relative
# to itself or, as foreach() loops do, by its stem.
function is_listed(path,    dir, rest, at, stem) {
  dir = path
  rest = ""
  while ((at = match(dir, /\/?[^\/]*$/)) > 0 && dir != "") {
    rest = substr(dir, RSTART) rest
    dir = substr(dir, 1, RSTART - 1)
    sub(/^\//, "", rest)
    stem = rest
    sub(/\.cc$/, "", stem)
    if (((dir "\t" rest) in listed) || ((dir "\t" stem) in listed)) return 1
    rest = "/" rest
  }
  return 0
}

function list_words(    i, n, words, dir) {
  dir = FILENAME
  if (!sub(/\/CMakeLists\.txt$/, "", dir)) dir = ""
  n = split($0, words, /[ \t()";]+/)
  for (i = 1; i <= n; i++) listed[dir "\t" words[i]] = 1
}

BEGIN { draw_arrows() }

# First pass: what the CMakeLists name.
!MARK { list_words(); next }

FNR == 1 {
  if (previous != "") end_file(previous, previous_lines)
  previous = FILENAME
  begin_file()
}

{ previous_lines = FNR }

/TODO|FIXME|XXX/ && FILENAME !~ /^scripts\/tidy/ {
  if (match($0, /(^|[^A-Za-z0-9_])(TODO|FIXME|XXX)([^A-Za-z0-9_]|$)/)) {
    finding(FNR, "todo", "finish it, or write an issue")
  }
}

/[ \t]$/ && FILENAME !~ /testdata\// {
  finding(FNR, "space", "white space at the end of the line")
}

is_source && /^[ \t]*#[ \t]*include/ {
  line = $0
  if (match(line, /["<][^">]*[">]/)) {
    check_include(substr(line, RSTART + 1, RLENGTH - 2),
                  substr(line, RSTART, 1) == "\"")
  }
  next
}

is_proto && /^import / {
  line = $0
  if (match(line, /"[^"]*"/)) {
    check_include(substr(line, RSTART + 1, RLENGTH - 2), 1)
  }
}

is_source && FILENAME ~ /\.h$/ && guard_seen == "" && /^#ifndef / {
  guard_seen = $2
}

is_source { check_strays(code_of($0)) }

is_cmake && /^[ \t]*[a-z_]+\(/ {
  in_library = $0 ~ /mr_cc_(library|binary)\(/
}

is_cmake && in_library && FILENAME ~ /\// {
  line = $0
  while (match(line, /millrace::[a-z0-9_]+/)) {
    check_link(substr(line, RSTART + 10, RLENGTH - 10))
    line = substr(line, RSTART + RLENGTH)
  }
}

END {
  if (previous != "") end_file(previous, previous_lines)
  exit findings > 0
}
