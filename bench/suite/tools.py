"""Programs that are not Millrace's: Unix tools, yardsticks. Each may be
absent; what needs it is then skipped, with a message."""

import os
import pathlib
import shutil
import subprocess
import sys


def skipped(what, why):
    print(f"skipped: {what}: {why}", file=sys.stderr, flush=True)


def yardstick(name):
    """A hand-written program of the directory that YARDSTICKS names."""
    directory = os.environ.get("YARDSTICKS")
    if directory and (pathlib.Path(directory) / name).exists():
        return pathlib.Path(directory) / name
    skipped(name, "YARDSTICKS names no directory that has it")
    return None


def program(name):
    """A program of the system."""
    found = shutil.which(name)
    if found:
        return pathlib.Path(found)
    skipped(name, "not installed; Debian's packages have it")
    return None


def versions():
    """What stands beside the figures."""
    found = {}
    for name, arguments in (("sort", ["--version"]), ("grep", ["--version"]),
                            ("mawk", ["-W", "version"]), ("rg", ["--version"]),
                            ("g++", ["--version"])):
        path = shutil.which(name)
        if path:
            done = subprocess.run([path, *arguments], capture_output=True,
                                  text=True, check=False)
            first = (done.stdout or done.stderr).splitlines()
            found[name] = first[0] if first else "unknown"
    return found
