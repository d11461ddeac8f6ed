"""A Millrace cluster of real processes on this machine."""

import json
import os
import pathlib
import subprocess
import time

import harness
from suite import processes


class Cluster:
    """`millrace cluster up` in a directory of its own; down at the end.

    Ready when entered: `ready_seconds` says how long that took.
    """

    def __init__(self, options, name, *flags, masters=1):
        self.bin = options.bin
        self.directory = options.work / f"cluster-{name}"
        self.environment = dict(os.environ, LC_ALL="C",
                                XDG_CONFIG_HOME=str(options.work))
        self.flags = ["--masters", str(masters), *map(str, flags)]

    def __enter__(self):
        harness.remove(self.directory)
        began = time.monotonic()
        self.millrace("cluster", "up", "--dir", self.directory, *self.flags)
        self.ready_seconds = time.monotonic() - began
        status = json.loads(self.millrace("cluster", "status", "--dir",
                                          self.directory, "-o", "json"))
        self.masters = status["cluster"]
        self.pids = {p["id"]: p["pid"] for p in status["processes"]}
        self.environment["MILLRACE_CLUSTER"] = self.masters
        return self

    def __exit__(self, *_):
        self.millrace("cluster", "down", "--dir", self.directory)
        harness.remove(self.directory)

    def command(self, *arguments):
        return [str(self.bin / "millrace"), *map(str, arguments)]

    def millrace(self, *arguments):
        done = subprocess.run(self.command(*arguments), env=self.environment,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            harness.die(f"millrace {arguments}: {done.stderr}")
        return done.stdout

    def submit(self, program, *flags, arguments=(), under=()):
        """Runs a job to its committed output; what all processes used. `under`:
        the words of a program that runs the command."""
        behind = ["--", *arguments] if arguments else []
        command = [*under,
                   *self.command("submit", program, "-q", *flags, *behind)]
        with self.watch() as watch:
            used = processes.run(command, self.environment)
        used.cpu += watch.cpu
        used.roles = watch.peaks
        used.peak = max([used.peak, *watch.peaks.values()])
        return used

    def watch(self):
        roles = {}
        for name, pid in self.pids.items():
            roles.setdefault(name.split("-")[0], []).append(pid)
        return processes.Watch(roles)

    def resident_kib(self, process):
        path = pathlib.Path(f"/proc/{self.pids[process]}/status")
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0
