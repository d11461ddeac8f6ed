"""Answers in one form for all contenders, so that they can be compared.

An answer is a SHA-256 of an output brought into that form. To do so may cost
more than the run that is checked, so the answer of bytes that were seen before
is remembered: a program that writes the same bytes in every round is brought
into form once, and each round's bytes are hashed all the same.
"""

import hashlib
import os
import subprocess

import harness

BLOCK = 1 << 20
# Shell filters from an output's bytes to lines of word<TAB>count, sorted.
TAB_SEPARATED = "sort"
UNIQ_C = r"sed -E 's/^ *([0-9]+) (.*)$/\2\t\1/' | sort"
COUNT_FIRST = r"sed -E 's/^([0-9]+)[ \t](.*)$/\2\t\1/' | sort"
# Of the inverted index: how many places of each word. A word may have several
# lines, which follow each other.
PLACES = (r"""awk -F'\t' '{ n = gsub(/,/, ",", $3) + 1; """
          r"""if (($1 "") == (word "")) { total += n } else { """
          r"""if (NR > 1) print word "\t" total; word = $1; total = n } } """
          r"""END { if (NR > 0) print word "\t" total }' | sort""")


class Wrong(Exception):
    """An output that is not the answer."""


def files_of(out):
    """A single file, or the part files of a directory in partition order."""
    if out.is_dir():
        return sorted(file for file in out.rglob("part-*")
                      if not file.name.endswith(".crc"))
    return [out]


def digest_of_files(files):
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(BLOCK), b""):
                digest.update(block)
    return digest.hexdigest()


def raw(out):
    """For outputs that must be the same bytes, one part after another."""
    return lambda: digest_of_files(files_of(out))


class Formed:
    """Answers of one contest that go through a filter first."""

    def __init__(self, out):
        self.out = out
        self.known = {}

    def by(self, shell_filter):
        return lambda: self._answer(shell_filter)

    def _answer(self, shell_filter):
        files = files_of(self.out)
        seen = (shell_filter, digest_of_files(files))
        if seen not in self.known:
            self.known[seen] = _filtered(files, shell_filter)
        return self.known[seen]


def _filtered(files, shell_filter):
    """Digest of the files' bytes after the filter."""
    names = b"\0".join(os.fsencode(file) for file in files)
    reader = subprocess.Popen(["xargs", "-0", "-r", "cat"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process = subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", shell_filter], stdin=reader.stdout,
        stdout=subprocess.PIPE, env=dict(os.environ, LC_ALL="C"))
    reader.stdout.close()
    reader.stdin.write(names)
    reader.stdin.close()
    digest = hashlib.sha256()
    for block in iter(lambda: process.stdout.read(BLOCK), b""):
        digest.update(block)
    if process.wait() != 0 or reader.wait() != 0:
        harness.die(f"check failed: {shell_filter}")
    return digest.hexdigest()


def number(out):
    """For contenders that print how many there are. None: they do not."""
    def answer():
        text = out.read_bytes()[:64].strip()
        return int(text) if text.isdigit() else None
    return answer
