"""What the measuring programs of this folder share."""

import hashlib
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def die(message):
    sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {message}")


def parse_size(text):
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    scale = units.get(text[-1:].upper(), 1)
    return int(text.rstrip("KMGkmg")) * scale


def remove(path):
    # What a cluster still cleans up there may go at the same time.
    while path.is_dir():
        shutil.rmtree(path, onerror=lambda *_: None)
    path.unlink(missing_ok=True)


def digest_of(shell_command):
    """SHA-256 of what a shell command prints."""
    process = subprocess.Popen(["bash", "-o", "pipefail", "-c", shell_command],
                               stdout=subprocess.PIPE,
                               env=dict(os.environ, LC_ALL="C"))
    digest = hashlib.sha256()
    for block in iter(lambda: process.stdout.read(1 << 20), b""):
        digest.update(block)
    if process.wait() != 0:
        die(f"check failed: {shell_command}")
    return digest.hexdigest()


def generate(bench, path, arguments):
    if not path.exists():
        print(f"generating {path}", file=sys.stderr)
        partial = path.with_suffix(".partial")
        with open(partial, "wb") as file:
            subprocess.run([bench / "gen_text", *arguments], stdout=file,
                           check=True)
        partial.rename(path)
    # Into the page cache: this is not a measurement of the disk.
    with open(path, "rb") as file:
        while file.read(1 << 20):
            pass


def machine():
    def first(path, prefix):
        for line in open(path, encoding="utf-8"):
            if line.startswith(prefix):
                return line.split(":", 1)[1].strip()
        return "unknown"

    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT,
                         capture_output=True, text=True, check=False)
    return {
        "cpu": first("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory": first("/proc/meminfo", "MemTotal"),
        "kernel": os.uname().release,
        "commit": git.stdout.strip() or "unknown",
    }


def spread(values):
    return {"median": statistics.median(values), "min": min(values),
            "max": max(values), "runs": len(values)}


def find_programs(options):
    """Sets `bin` and `bench` of options; builds the release preset if asked."""
    if options.bin is None:
        subprocess.run(["cmake", "--preset", "release"], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)
        subprocess.run(["cmake", "--build", "--preset", "release"], cwd=ROOT,
                       check=True, stdout=sys.stderr)
        options.bin = ROOT / "build" / "release" / "bin"
    options.bin = options.bin.resolve()
    options.bench = options.bin.parent / "bench"
