"""Row 13: the price of trust, as shares of the CPU time of word count and
sort."""

import collections
import itertools

import harness
from suite import answers, inputs, ours, profile, references
from suite.contest import Contest
from suite.report import Section
from suite.sorting import UNCOMPRESSED

BAR, AIM = 5, 2  # Per cent.
CHECKSUMS, LEDGER, LOG = "checksums", "ledger", "log"
TRUST = (CHECKSUMS, LEDGER, LOG)
KEYS, SYNC, REST = "hashes of keys", "sync of outputs", "rest"
# Who hashes keys, to find their partition and place: no matter of trust. A sort
# finds them by ranges, so what hashes in its buffer of records is the ledger.
KEY_HASHERS = ("engine/map/combine_buffer.", "engine/map/combine_table.",
               "engine/map/partition.h", "api/src/partitioner.cc",
               "api/src/task/partitioning.cc")
# Who hashes short things that are no records: headers and indexes of files.
HEADER_HASHERS = ("engine/format/block.", "engine/format/index.")
HASHES = ("common/hash.h", "common/sha256.")
# In the names of what hashes streams, and inputs longer than any key or record
# of these jobs.
LONG = ("hashLong", "accumulate", "consumeStripes", "StreamHash64", "update",
        "digest", "XXH128", "128bits", "Sha256")
SYNCS = ("fsync", "fdatasync", "syncfs", "sync_file_range")
CONDITIONS = (
    "CPU time alone, waiting for the disk is not in it. Checksums: of blocks, "
    "digests of map outputs, part files, programs. Ledger: counts and hashes "
    "of records. Log: all code of the masters' log, its writes and syncs. "
    "Hashes of keys, which find their partitions and places, and syncs of "
    "part files stand beside and do not count.")


def _hashes(source):
    return source.startswith(HASHES) or source.endswith("/xxhash.h")


def kind_of(frames, functions):
    """What a sample is spent for. `frames` are perf's, `functions` those of
    our programs; both innermost first."""
    sources = [function.source for function in functions]
    if any(source.startswith("raft/log/") for source in sources):
        return LOG
    if frames and profile.in_kernel(frames[0]) and any(
            sync in frame.symbol for frame in frames for sync in SYNCS):
        return SYNC
    if any(source.rpartition("/")[2].startswith("ledger.")
           for source in sources):
        return LEDGER
    if frames and "libcrypto" in frames[0].file:
        return CHECKSUMS
    hashes = [number for number, source in enumerate(sources)
              if _hashes(source)]
    if not hashes:
        return REST
    if any(long in functions[number].name for number in hashes
           for long in LONG):
        return CHECKSUMS
    # A short input: of what it is, its caller tells. perf sometimes misses the
    # next one, the ledger's own, and has the one behind.
    callers = [caller for caller in sources[hashes[0]:]
               if not caller.startswith("/") and not _hashes(caller)]
    if not callers:
        return CHECKSUMS
    if callers[0].startswith(KEY_HASHERS):
        return KEYS
    return LEDGER if callers[0].startswith("engine/") and \
        not callers[0].startswith(HEADER_HASHERS) else CHECKSUMS


class Count:
    """Samples by kind, of one round."""

    def __init__(self):
        self.kinds = collections.Counter()

    def total(self):
        return sum(self.kinds.values())

    def percent(self, *kinds):
        total = self.total()
        return 100 * sum(self.kinds[kind] for kind in kinds) / total \
            if total else 0.0


class Recordings:
    """Of one contender: a file for each of its runs, and what is in them."""

    def __init__(self, options, name):
        self.options = options
        self.name = name
        self.files = []

    def next(self, pids=()):
        """The words before the command of the next run."""
        data = self.options.work / f"{self.name}-{len(self.files)}.data"
        harness.remove(data)
        self.files.append(data)
        return profile.recorder(data, pids)

    def counts(self, program, daemons):
        """Place to Counts, one for each run: the daemons of a cluster and its
        job processes apart."""
        sources = profile.Sources(self.options, program)
        found = collections.defaultdict(list)
        for data in self.files:
            samples = profile.samples_of(data)
            sources.resolve(samples)
            places = {"all": Count()}
            if daemons:
                places.update({"job processes": Count(), "daemons": Count()})
            for sample in samples:
                kind = kind_of(sample.frames, sources.functions(sample))
                places["all"].kinds[kind] += 1
                if daemons:
                    where = ("daemons" if sample.process in daemons
                             else "job processes")
                    places[where].kinds[kind] += 1
            for where, count in places.items():
                found[where].append(count)
            harness.remove(data)
        return found


def _rows(name, found):
    for where, counts in found.items():
        whole = Count()
        whole.kinds.update(itertools.chain.from_iterable(
            count.kinds.elements() for count in counts))
        rounds = [count.percent(*TRUST) for count in counts]
        label = name if where == "all" else f"{name}, {where}"
        yield [label, f"{whole.total():,}",
               *(f"{whole.percent(kind):.2f} %" for kind in TRUST),
               f"**{whole.percent(*TRUST):.2f} %**",
               f"{min(rounds):.2f} to {max(rounds):.2f}",
               *(f"{whole.percent(kind):.2f} %" for kind in (KEYS, SYNC))]


def _percent(found):
    """Of all rounds together; None without samples."""
    whole = Count()
    for count in found["all"]:
        whole.kinds.update(count.kinds)
    return whole.percent(*TRUST) if whole.total() else None


def _bar(section, title, name, value):
    section.at_most(13, f"{title}, {name}: checksums, ledger and log, % of CPU "
                    "time", value, BAR, AIM)


def _measure(options, section, title, program, data, expected, answer, extra):
    """A job as a local run and on a cluster whose workers fetch over the
    network. Outputs are checked as everywhere."""
    out = options.work / "out"
    contest = Contest(f"trust, {title}", title, out)
    contest.expected = expected
    contest.warmers.append(lambda: inputs.read_all(data))
    local = Recordings(options, f"trust-{program}-local")
    spread = Recordings(options, f"trust-{program}-cluster")
    with ours.clusters(options, f"trust-{program}") as clusters:
        cluster = clusters["cluster"]
        daemons = list(cluster.pids.values())
        contest.add(f"{program}, local run", ours.local(
            options, program, [data], out, extra=extra, under=local.next),
                    answer)
        contest.add(f"{program}, cluster", ours.on(
            cluster, options, program, [data], out, extra=extra,
            under=lambda: spread.next(daemons)), answer)
        contest.measure(options.rounds)
        # While the workers' copies of the program are still there.
        found = {"local run": local.counts(program, ()),
                 "cluster": spread.counts(program, set(daemons))}
    rows = []
    for name, counts in found.items():
        rows += _rows(name, counts)
        _bar(section, title, name, _percent(counts))
    section.sheet(f"Price of trust: {title}", CONDITIONS,
                  ["", "samples", *TRUST, "together", "of one round", KEYS,
                   SYNC], rows)


def trust(options):
    """Row 13."""
    section = Section("trust")
    jobs = {"wordcount": "word count", "sort": "sort"}
    if not profile.available(options):
        for title in jobs.values():
            for name in ("local run", "cluster"):
                _bar(section, title, name, None)
        return section
    out = options.work / "out"
    text = inputs.text(options)
    _measure(options, section, jobs["wordcount"], "wordcount", text,
             references.counts(options, text),
             answers.Formed(out).by(answers.TAB_SEPARATED), ())
    records = inputs.records(options)
    _measure(options, section, jobs["sort"], "sort", records,
             references.sorted_lines(options, [records]), answers.raw(out),
             UNCOMPRESSED)
    return section
