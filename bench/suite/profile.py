"""Where the CPU time of Millrace's processes goes, by perf: samples with their
callers, and with the functions that were compiled into these."""

import collections
import functools
import pathlib
import re
import shutil
import struct
import subprocess

import harness
from suite import processes, tools

# A clock instead of the processor's counters, which a virtual machine may not
# have. Two KiB of stack have the few callers that matter.
RECORD = ["perf", "record", "-q", "-F", "997", "-e", "cpu-clock",
          "--call-graph", "dwarf,2048"]
FRAME = re.compile(r"^\s+([0-9a-f]+) (.*) \((.*)\)$")
# Of a sample, so many frames of ours are looked at, innermost first.
DEPTH = 6

Frame = collections.namedtuple("Frame", "address symbol file")
Sample = collections.namedtuple("Sample", "process frames")
# A function that runs, or that is waiting for one that runs; `source` is
# relative to the root of the tree if it is of the tree.
Function = collections.namedtuple("Function", "name source")


def available(options):
    """Whether processes can be profiled here; says why not."""
    if shutil.which("perf") is None:
        tools.skipped("profiles", "no perf here; Debian's package is "
                      "linux-perf")
        return False
    if shutil.which("addr2line") is None:
        tools.skipped("profiles", "no addr2line here; Debian's package is "
                      "binutils")
        return False
    data = options.work / "perf-probe.data"
    done = subprocess.run([*RECORD, "-o", data, "--", "true"],
                          capture_output=True, text=True, check=False)
    harness.remove(data)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it does not say why"]
        tools.skipped("profiles", f"perf cannot record: {lines[0]}")
    return done.returncode == 0


def recorder(data, pids=()):
    """The words before a command that is to be recorded into the file `data`;
    or while which these processes are, and those that they start."""
    targets = ["-p", ",".join(map(str, pids))] if pids else []
    return [*RECORD, *targets, "-o", data, "--"]


def samples_of(data):
    """All samples of a recording."""
    done = subprocess.run(
        ["perf", "script", "-i", data, "--no-inline", "-F",
         "comm,pid,ip,sym,dso"],
        capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise processes.Failed(f"perf script of {data}: {done.stderr[-500:]}")
    return list(parse(done.stdout))


def parse(text):
    """Samples out of what perf script prints: a line that ends with the
    process, then a line for each frame."""
    process, frames = None, []
    for line in [*text.splitlines(), ""]:
        match = FRAME.match(line)
        if match:
            frames.append(Frame(int(match[1], 16), match[2], match[3]))
        elif line.strip():
            process = int(line.split()[-1])
        elif process is not None:
            yield Sample(process, frames)
            process, frames = None, []


def in_kernel(frame):
    return frame.file.startswith("[")


class Sources:
    """Names of functions, inlined ones too, for addresses in our programs."""

    def __init__(self, options, program):
        self.bin = options.bin
        self.program = options.bin / program
        self.work = str(options.work)
        self.known = {}  # (file, address) to functions, innermost first.

    def _file_of(self, frame):
        """The program a frame is of, None for libraries and the kernel."""
        path = pathlib.Path(frame.file.replace(" (deleted)", ""))
        if path.parent == self.bin:
            return path
        # A worker runs a copy of the job's program.
        return self.program if str(path).startswith(self.work) else None

    def _places(self, sample):
        """File and address of the frames of ours, innermost first. A caller's
        address is the one behind the call: the call is before it."""
        places = []
        for number, frame in enumerate(sample.frames):
            path = self._file_of(frame)
            if path is not None:
                places.append((path, frame.address - (number > 0)))
        return places[:DEPTH]

    def resolve(self, samples):
        """Looks up all addresses of the samples: a program at a time."""
        wanted = collections.defaultdict(set)
        for sample in samples:
            for path, address in self._places(sample):
                if (path, address) not in self.known:
                    wanted[path].add(address)
        for path, addresses in wanted.items():
            for address, functions in _lines(path, sorted(addresses)).items():
                self.known[path, address] = functions

    def functions(self, sample):
        """Of a sample that was resolved, innermost first."""
        return [function for place in self._places(sample)
                for function in self.known.get(place, [])]


@functools.cache
def _segments(path):
    """(offset in the file, address, bytes) of what a program loads."""
    with open(path, "rb") as file:
        header = file.read(64)
        if header[:6] != b"\x7fELF\x02\x01":
            harness.die(f"{path} is no 64-bit little-endian program")
        at, = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        file.seek(at)
        table = file.read(size * count)
    found = []
    for number in range(count):
        kind, _, offset, address, _, length = struct.unpack_from(
            "<IIQQQQ", table, number * size)
        if kind == 1:  # PT_LOAD.
            found.append((offset, address, length))
    return found


def _virtual(path, offset):
    """perf says where in the file an instruction is; addr2line asks for where
    in memory."""
    for start, address, length in _segments(path):
        if start <= offset < start + length:
            return address + offset - start
    return offset


def _lines(path, offsets):
    """Each offset in a program to the functions that are there."""
    asked = {_virtual(path, offset): offset for offset in offsets}
    done = subprocess.run(
        ["addr2line", "-a", "-i", "-f", "-C", "-e", path],
        input="".join(f"{address:#x}\n" for address in asked),
        stdout=subprocess.PIPE, text=True, errors="replace", check=True)
    return {asked[address]: functions
            for address, functions in parse_lines(done.stdout).items()}


def parse_lines(text):
    """addr2line's answer: an address, then a function and its source in turn."""
    found, current, name = {}, None, None
    for line in text.splitlines():
        if name is None and re.fullmatch(r"0x[0-9a-f]+", line):
            current = found.setdefault(int(line, 16), [])
        elif name is None:
            name = line
        else:
            current.append(Function(name, _in_tree(line.rpartition(":")[0])))
            name = None
    return found


@functools.cache
def _in_tree(source):
    """`/where/it/was/built/../../common/hash.h` is `common/hash.h`, if the tree
    has that."""
    parts = []
    for part in source.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    for number in range(len(parts)):
        path = "/".join(parts[number:])
        if (harness.ROOT / path).is_file():
            return path
    return "/" + "/".join(parts)
