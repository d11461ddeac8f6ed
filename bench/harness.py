"""What the measuring programs of this folder share."""

import hashlib
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def die(message):
    sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {message}")


def end_tidily():
    """SIGTERM ends the program as an error does: clusters are taken down."""
    signal.signal(signal.SIGTERM, lambda *_: die("terminated"))


def parse_size(text):
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    scale = units.get(text[-1:].upper(), 1)
    return int(float(text.rstrip("KMGkmg")) * scale)


def remove(path):
    # What a cluster still cleans up there may go at the same time.
    while path.is_dir():
        shutil.rmtree(path, onerror=lambda *_: None)
    path.unlink(missing_ok=True)


def size_text(path):
    """A file's size for people."""
    size = path.stat().st_size
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"


def output_of(shell_command):
    """What a shell command prints."""
    done = subprocess.run(["bash", "-o", "pipefail", "-c", shell_command],
                          stdout=subprocess.PIPE, text=True, check=False,
                          env=dict(os.environ, LC_ALL="C"))
    if done.returncode != 0:
        die(f"failed: {shell_command}")
    return done.stdout


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


def instruction_set():
    """Of the processor; programs choose from it at run time."""
    flags = ""
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("flags"):
            flags = line
            break
    return " ".join(name for name in ("sse4_2", "avx2", "avx512bw", "sha_ni")
                    if name in flags.split()) or "unknown"


def machine(binaries=None):
    """`binaries`: directory of the programs, if they are of another tree."""
    def first(path, prefix):
        for line in open(path, encoding="utf-8"):
            if line.startswith(prefix):
                return line.split(":", 1)[1].strip()
        return "unknown"

    git = subprocess.run(["git", "describe", "--always", "--dirty"],
                         cwd=binaries or ROOT, capture_output=True, text=True,
                         check=False)
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
