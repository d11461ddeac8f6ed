"""Programs that are not Millrace's: Unix tools, yardsticks. Each may be
absent; what needs it is then skipped, with a message."""

import os
import pathlib
import shutil
import subprocess
import sys


def skipped(what, why):
    print(f"skipped: {what}: {why}", file=sys.stderr, flush=True)


def peers_directory():
    """Where bench/peers/install puts what it installs."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "millrace" / "peers"


def peer(name, *needed):
    """The directory of what bench/peers/install installs if it has all that
    `needed` names and there is a Java to run it, else None with a message."""
    directory = peers_directory()
    if not all((directory / path).exists() for path in needed):
        skipped(name, f"not installed; bench/peers/install {name.lower()}")
        return None
    if shutil.which("java") is None:
        skipped(name, "no java here; Debian's package is "
                "openjdk-17-jdk-headless")
        return None
    return directory


def yardstick(name):
    """A hand-written program of the directory that YARDSTICKS names."""
    directory = os.environ.get("YARDSTICKS")
    if directory and (pathlib.Path(directory) / name).exists():
        return pathlib.Path(directory) / name
    skipped(name, "YARDSTICKS names no directory that has it")
    return None


def program(name):
    """A program of the system, or of bench/peers/install."""
    found = shutil.which(name)
    if found:
        return pathlib.Path(found)
    installed = peers_directory() / "bin" / name
    if installed.exists():
        return installed
    skipped(name, "not installed; bench/peers/install gets ripgrep, and "
            "Debian's packages have the others")
    return None


def versions():
    """What stands beside the figures."""
    found = {}
    for name, arguments in (("sort", ["--version"]), ("grep", ["--version"]),
                            ("mawk", ["-W", "version"]), ("rg", ["--version"]),
                            ("g++", ["--version"])):
        path = shutil.which(name) or peers_directory() / "bin" / name
        if pathlib.Path(path).exists():
            done = subprocess.run([path, *arguments], capture_output=True,
                                  text=True, check=False)
            first = (done.stdout or done.stderr).splitlines()
            found[name] = first[0] if first else "unknown"
    return found
