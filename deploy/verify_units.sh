#!/bin/bash
# Checks the service units with systemd-analyze: syntax, unknown settings, and
# that nothing has opened the master's sandbox.
#
#   deploy/verify_units.sh [BIN_DIR]
#
# BIN_DIR holds millrace-master and millrace-worker; without it, stand-ins do.
# Exits 77, for "skipped", where there is no systemd-analyze.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bin=${1:-}
command -v systemd-analyze >/dev/null || {
  echo "verify_units: no systemd-analyze here; skipped"
  exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# verify wants the programs and the user to exist. Both are made so in copies.
failed=0
for unit in millrace-master millrace-worker; do
  program=$bin/$unit
  if [[ -z $bin || ! -x $program ]]; then
    program=$work/$unit-program
    printf '#!/bin/sh\n' >"$program"
    chmod +x "$program"
  fi
  sed -e "s|^ExecStart=/usr/bin/$unit |ExecStart=$program |" \
    -e "s|^User=.*|User=$(id -un)|" -e "s|^Group=.*|Group=$(id -gn)|" \
    "$here/systemd/$unit.service" >"$work/$unit.service"
  grep -q "^ExecStart=$program " "$work/$unit.service" || {
    echo "verify_units: $unit.service does not start /usr/bin/$unit" >&2
    failed=1
  }
  # Settings that it does not know or cannot parse are only warnings to it.
  if ! said=$(systemd-analyze verify --man=no "$work/$unit.service" 2>&1) ||
    grep -F "$work/$unit.service" <<<"$said"; then
    printf '%s\n' "$said" >&2
    echo "verify_units: $unit.service is not good" >&2
    failed=1
  fi
done

# What job processes cannot do without must stay as it is.
for line in 'Delegate=yes' 'KillMode=mixed'; do
  grep -qx "$line" "$here/systemd/millrace-worker.service" || {
    echo "verify_units: millrace-worker.service lacks $line" >&2
    failed=1
  }
done
for forbidden in MemoryDenyWriteExecute SystemCallFilter ProtectProc; do
  if grep -q "^$forbidden=" "$here/systemd/millrace-worker.service"; then
    echo "verify_units: millrace-worker.service must not set $forbidden" >&2
    failed=1
  fi
done
# Nothing may open the master's sandbox, which starts no job processes.
for line in NoNewPrivileges=yes ProtectSystem=strict ProtectHome=yes \
  CapabilityBoundingSet= SystemCallFilter=@system-service; do
  grep -qx "$line" "$here/systemd/millrace-master.service" || {
    echo "verify_units: millrace-master.service lacks $line" >&2
    failed=1
  }
done
[[ $failed == 0 ]] && echo "verify_units: both units are good"
exit "$failed"
