#!/bin/bash
# Says which Debian packages are missing and installs them.
#
#   scripts/install-deps.sh [--build | --test | --long] [--print]
#
#   --build  what compiling and running Millrace takes (the default)
#   --test   the same, and what ./test takes
#   --long   the same, and what ./test --long takes (Clang, for the thread safety
#            analysis and the fuzzers)
#   --print  print the packages, one a line, and do nothing
#
# With nothing missing it neither asks nor touches the network. Asks before it
# installs when a person can answer; otherwise installs at once. Exits 0 when all
# required packages are there, 1 when not, 2 on wrong usage.
set -euo pipefail

# What find_package() and protoc in CMakeLists.txt look for.
readonly BUILD_PACKAGES=(
  build-essential cmake ninja-build pkg-config
  protobuf-compiler libprotobuf-dev libprotoc-dev libabsl-dev
  protobuf-compiler-grpc libgrpc++-dev libssl-dev
  libgoogle-glog-dev libcli11-dev nlohmann-json3-dev
  libzstd-dev liblz4-dev libxxhash-dev xz-utils)
# They make the build faster and nothing else.
readonly BUILD_OPTIONAL=(ccache mold)
readonly TEST_PACKAGES=(libgtest-dev libgmock-dev)
readonly TEST_OPTIONAL=(shellcheck systemd)
# libclang-rt holds the sanitizer and fuzzer run times, which Debian only
# recommends.
readonly LONG_PACKAGES=(clang lld libclang-rt-14-dev libbenchmark-dev)

usage() { sed -n '4,11s/^# \{0,1\}//p' "$0"; }

level=build
print=false
for arg in "$@"; do
  case "$arg" in
    --build | --test | --long) level=${arg#--} ;;
    --print) print=true ;;
    -h | --help) usage; exit 0 ;;
    *)
      echo "install-deps.sh: unknown argument '$arg'; see --help" >&2
      exit 2
      ;;
  esac
done

required=("${BUILD_PACKAGES[@]}")
optional=("${BUILD_OPTIONAL[@]}")
if [[ $level != build ]]; then
  required+=("${TEST_PACKAGES[@]}")
  optional+=("${TEST_OPTIONAL[@]}")
fi
if [[ $level == long ]]; then
  required+=("${LONG_PACKAGES[@]}")
fi

if $print; then
  printf '%s\n' "${required[@]}" "${optional[@]}"
  exit 0
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  # Not Debian: believe the build tools if they are there, for a person may have
  # the libraries from elsewhere, and let CMake be the judge.
  if command -v cmake >/dev/null && command -v ninja >/dev/null &&
     command -v protoc >/dev/null && command -v c++ >/dev/null; then
    exit 0
  fi
  cat >&2 <<END
install-deps.sh: this system has no dpkg and apt-get, so nothing is installed.
Install what corresponds to these Debian packages, then start again:
  ${required[*]}
Optional, for speed and extra checks:
  ${optional[*]}
END
  exit 1
fi

# Prints those of its arguments that are not installed.
missing_of() {
  local package state
  for package in "$@"; do
    state=$(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null) ||
      state=
    [[ $state == ?i* ]] || printf '%s\n' "$package"
  done
}

mapfile -t missing < <(missing_of "${required[@]}")
mapfile -t missing_optional < <(missing_of "${optional[@]}")
if ((${#missing[@]} + ${#missing_optional[@]} == 0)); then
  exit 0
fi

if ((${#missing[@]} > 0)); then
  echo "Missing Debian packages: ${missing[*]}"
fi
if ((${#missing_optional[@]} > 0)); then
  echo "Missing, but only useful for speed or extra checks:" \
    "${missing_optional[*]}"
fi

as_root=()
manual="apt-get update && apt-get install -y --no-install-recommends \
${missing[*]} ${missing_optional[*]}"
if ((EUID != 0)); then
  if command -v sudo >/dev/null; then
    as_root=(sudo)
    # Without a terminal a question for the password would never be answered.
    [[ -t 0 ]] || as_root+=(-n)
  elif ((${#missing[@]} == 0)); then
    exit 0
  else
    echo "install-deps.sh: installing needs root and there is no sudo here." \
      "Run this as root, then start again:" >&2
    echo "  $manual" >&2
    exit 1
  fi
fi

if [[ -t 0 && -t 1 ]]; then
  read -r -p "Install them now with apt-get? [Y/n] " answer || answer=n
  case "$answer" in
    '' | [Yy]*) ;;
    *)
      ((${#missing[@]} == 0)) && exit 0
      echo "Nothing was installed. To do it by hand:"
      echo "  $manual"
      exit 1
      ;;
  esac
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Quiet unless it fails. Waits for another apt to finish instead of failing.
apt() {
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq \
      -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    return 1
  fi
}

echo "Installing with apt-get..."

if ! apt update; then
  echo "install-deps.sh: 'apt-get update' did not succeed; trying with the" \
    "package lists at hand" >&2
fi
if ((${#missing[@]} > 0)); then
  if ! apt install -y --no-install-recommends "${missing[@]}"; then
    echo "install-deps.sh: apt-get could not install: ${missing[*]}" >&2
    echo "Check the network and /etc/apt/sources.list*, or install them by" \
      "hand, then start again." >&2
    exit 1
  fi
fi
# One by one: an older release may lack one of them.
for package in "${missing_optional[@]}"; do
  apt install -y --no-install-recommends "$package" ||
    echo "install-deps.sh: going on without $package" >&2
done
