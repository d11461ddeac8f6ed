"""Data to measure on: made or fetched once, kept in the work directory."""

import os
import pathlib
import shutil
import subprocess
import sys

import harness

BLOCK = 1 << 20
FILE_BYTES = 16 << 10  # Of each file of a generated tree.


def read_all(path):
    """Reads a file, or all below a directory: into the page cache."""
    for file in files_below(path) if path.is_dir() else [path]:
        with open(file, "rb", buffering=0) as opened:
            while opened.read(BLOCK):
                pass


def files_below(directory):
    """The files that a job reads of a directory, in the order of their
    names: none whose name, or a folder's, begins with "." or "_", and no
    symbolic links."""
    found = []
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if name[0] not in "._")
        for name in sorted(names):
            path = pathlib.Path(folder) / name
            if name[0] not in "._" and not path.is_symlink():
                found.append(path)
    return found


def text(options, size=None):
    """One file of generated text: words as often as Zipf's law says."""
    size = size or options.size
    path = options.work / f"text-{size}"
    harness.generate(options.bench, path, ["--bytes", str(size)])
    return path


def text_copies(options, count):
    """`count` files of the same text, each with bytes of its own."""
    original = text(options)
    directory = options.work / f"text-{options.size}-copies"
    directory.mkdir(exist_ok=True)
    paths = [directory / f"{number:03}" for number in range(count)]
    for path in paths:
        if not path.exists():
            partial = path.with_suffix(".partial")
            shutil.copyfile(original, partial)
            partial.rename(path)
    return paths


def records(options, size=None, seed=1):
    """One file of records of 100 bytes with random keys, which are lines."""
    size = size or options.size
    path = options.work / f"records-{size}-{seed}"
    harness.generate(options.bench, path, ["--records", str(size // 100),
                                           "--seed", str(seed)])
    return path


class Tree:
    """Many files, and the same text in one: a line's end is added to a file
    that has none, as the records of a job end with the file."""

    def __init__(self, name, directory, one_file):
        self.name = name
        self.directory = directory
        self.one_file = one_file
        self.count = len(files_below(directory))


def linux_source(options):
    """Debian's linux-source, or None with a message: fetched with --install."""
    script = harness.ROOT / "scripts" / "corpus.sh"
    cached = subprocess.run([script, "--version"], capture_output=True,
                            text=True, check=False)
    version = cached.stdout.strip()
    if not options.install and len(version.split()) < 2:
        print("skipped: linux-source is not here; --install fetches Debian's "
              "package (140 MB)", file=sys.stderr)
        return None
    fetched = subprocess.run([script], stdout=subprocess.PIPE, text=True,
                             check=False)
    if fetched.returncode != 0:
        print("skipped: linux-source cannot be fetched", file=sys.stderr)
        return None
    version = subprocess.run([script, "--version"], capture_output=True,
                             text=True, check=True).stdout.strip()
    directory = pathlib.Path(fetched.stdout.strip())
    return Tree(version, directory, _in_one(
        directory, options.work / version.replace(" ", "-")))


def generated_tree(options):
    """Generated text, cut at lines into files of some 16 KiB."""
    source = text(options)
    directory = options.work / f"tree-{options.size}"
    if not directory.exists():
        partial = directory.with_suffix(".partial")
        harness.remove(partial)
        with open(source, "rb") as file:
            number = 0
            for lines in iter(lambda: file.readlines(FILE_BYTES), []):
                path = partial / f"{number // 100:04}" / f"{number:06}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"".join(lines))
                number += 1
        partial.rename(directory)
    return Tree("generated text", directory,
                _in_one(directory, options.work / f"tree-{options.size}.one"))


def _in_one(directory, path):
    if not path.exists():
        partial = path.with_suffix(".partial")
        with open(partial, "wb") as out:
            for file in files_below(directory):
                content = file.read_bytes()
                out.write(content)
                if content and not content.endswith(b"\n"):
                    out.write(b"\n")
        partial.rename(path)
    return path
