#!/bin/bash
# Brings a large body of real text: the source tree of Debian's package
# linux-source-6.1 (some 78,000 files, 1.3 GB). Prints the directory on stdout,
# everything else on stderr.
#
#   scripts/corpus.sh [--version]
#
#   --version  print "<package> <version>" of what is in the cache, instead
#
# Kept in ${XDG_CACHE_HOME:-~/.cache}/millrace, so that it is fetched once. Needs
# apt-get, dpkg-deb, tar and xz. apt-get checks the package's signature. Exits 1
# when it cannot be had.
set -euo pipefail

readonly PACKAGE=linux-source-6.1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/millrace
tree=$cache/$PACKAGE
readonly NEEDED_KB=$((2000 * 1024))

say() { echo "corpus.sh: $*" >&2; }

case "${1:-}" in
  '') ;;
  --version)
    echo "$PACKAGE $(cat "$tree.version")"
    exit 0
    ;;
  -h | --help)
    sed -n '2,12s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
  *)
    say "unknown argument '$1'; see --help"
    exit 2
    ;;
esac

# Written last, so a tree with it is whole.
if [[ -e $tree.version ]]; then
  echo "$tree"
  exit 0
fi

for tool in apt-get dpkg-deb tar xz; do
  command -v "$tool" >/dev/null || { say "there is no $tool here"; exit 1; }
done

mkdir -p "$cache"
free_kb=$(df --output=avail -k "$cache" | tail -n 1)
if ((free_kb < NEEDED_KB)); then
  say "$cache has $((free_kb / 1024)) MB free and needs $((NEEDED_KB / 1024))"
  exit 1
fi

work=$(mktemp -d "$cache/unpack-XXXXXX")
trap 'rm -rf "$work"' EXIT

download() { (cd "$work" && apt-get -qq download "$PACKAGE") >&2; }

say "downloading Debian package $PACKAGE (140 MB)"
if ! download 2>"$work/log"; then
  # The package lists may be missing or too old; only root may renew them.
  as_root=()
  ((EUID == 0)) || as_root=(sudo -n)
  if ! "${as_root[@]}" apt-get -qq update >&2 || ! download; then
    cat "$work/log" >&2
    say "$PACKAGE cannot be downloaded"
    exit 1
  fi
fi
deb=("$work/$PACKAGE"_*.deb)
version=$(dpkg-deb -f "${deb[0]}" Version)

say "unpacking $PACKAGE $version"
mkdir "$work/tree"
# The package holds a tar file, and unpacking that is the long part.
dpkg-deb --fsys-tarfile "${deb[0]}" |
  tar -x -O "./usr/src/$PACKAGE.tar.xz" |
  tar -x -J -C "$work/tree"
rm -rf "$tree"
mv "$work/tree/$PACKAGE" "$tree"
echo "$version" >"$tree.version"
echo "$tree"
