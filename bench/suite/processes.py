"""What a command or a tree of processes used: time, CPU, memory."""

import os
import pathlib
import subprocess
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
WATCH_SECONDS = 0.1  # Between two looks at a tree's processes.


class Failed(Exception):
    """A measured command did not succeed; says which and what it printed."""


class Usage:
    """One run: elapsed and CPU seconds, peak bytes of the largest process."""

    def __init__(self, elapsed, cpu, peak, roles=None):
        self.elapsed = elapsed
        self.cpu = cpu
        self.peak = peak
        self.roles = roles or {}  # Peak bytes of each part of a cluster.
        self.printed = ""


def run(command, environment=None):
    """Runs a command to its end, with what it used. Raises Failed."""
    os.sync()  # Leftovers of the run before are not this one's business.
    started = time.monotonic()
    process = subprocess.Popen([str(word) for word in command],
                               env=environment or dict(os.environ, LC_ALL="C"),
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        printed = process.stdout.read()
    except BaseException:  # Told to end: so is the command.
        process.terminate()
        raise
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    used = Usage(time.monotonic() - started, usage.ru_utime + usage.ru_stime,
                 usage.ru_maxrss << 10)
    used.printed = printed.decode(errors="replace")
    if process.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))} exited with "
                     f"{process.returncode}:\n{used.printed[-2000:]}")
    return used


def _stat(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None  # It has ended.
    return text.rpartition(")")[2].split()


def _high_water(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8",
                  errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def _children(pid):
    """Those of all its threads. Cheap, since it runs beside a measurement."""
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children",
                      encoding="ascii") as file:
                found += map(int, file.read().split())
    except OSError:
        pass  # It has ended.
    return found


def _descendants(roots):
    """All processes below `roots`, themselves not among them."""
    found, waiting = [], list(roots)
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def cpu_of_tree(roots):
    """CPU seconds so far of processes, their descendants and the dead ones
    that these have waited for."""
    total = 0
    for pid in [*roots, *_descendants(roots)]:
        fields = _stat(pid)
        if fields is not None:
            total += sum(int(field) for field in fields[11:15])
    return total / TICKS


class Watch:
    """Peak resident memory of daemons and of their job processes meanwhile.

    `daemons` maps a role ("master", "worker") to process ids. What a job
    process reaches after the last look before its end is not seen.
    """

    def __init__(self, daemons):
        self.daemons = daemons
        self.roots = [pid for pids in daemons.values() for pid in pids]
        self.peaks = {}

    def __enter__(self):
        for pid in self.roots:
            try:  # From now on, not from the process's start.
                pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
            except OSError:
                pass
        self._cpu = cpu_of_tree(self.roots)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self.cpu = cpu_of_tree(self.roots) - self._cpu
        for role, pids in self.daemons.items():
            self.peaks[role] = max(map(_high_water, pids), default=0)

    def _look(self):
        while not self._stop.wait(WATCH_SECONDS):
            for pid in _descendants(self.roots):
                self.peaks["task"] = max(self.peaks.get("task", 0),
                                         _high_water(pid))
