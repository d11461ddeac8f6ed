"""Row 7: the frameworks that a user may have, on the same data in the same
run; with their start-up and without it."""

import contextlib
import re

import harness
from suite import answers, hadoop, inputs, ours, references, searching, spark
from suite.contest import Contest
from suite.report import Section
from suite.sorting import EXTERNAL_SCALE, UNCOMPRESSED

INSIDE = re.compile(r"^job_seconds ([0-9.E-]+)", re.MULTILINE)
WITHOUT = ", without start-up"
PEERS = ("Hadoop", "Spark")
BARS = {  # Job to bars for each of them.
    "wordcount": (15, 6),
    "sort": (6, 3),
}


def inside(used):
    """The time that the program itself took of its job, once all was up."""
    return float(INSIDE.search(used.printed)[1])


def _second_run(start):
    """The same of a program that runs its job twice in one process."""
    def run():
        used = start()
        used.elapsed = inside(used)
        return used
    return run


class Peers:
    """Those that are installed, for one group."""

    def __init__(self, options, stack):
        self.options = options
        self.spark = spark.home()
        self.hadoop = hadoop.home()
        self.yarn = None
        if self.hadoop:
            self.yarn = stack.enter_context(hadoop.Yarn(options, self.hadoop))

    def any(self):
        return self.spark or self.hadoop

    def add(self, contest, job, data, answer, behind=()):
        """All ways to do a job; those without start-up for themselves."""
        options = self.options
        size = data.stat().st_size
        parts = max(options.slots, size >> 27)  # 128 MiB each.
        if self.spark:
            for mode, flags in spark.modes(options).items():
                for name, repeats in (("", 1), (WITHOUT, 2)):
                    start = spark.start(
                        options, self.spark, flags,
                        [job, data, contest.out, parts, repeats, *behind])
                    contest.add(f"Spark, {mode}{name}",
                                _second_run(start) if name else start, answer)
        if self.hadoop:
            arguments = [job, data, contest.out, options.slots, *behind]
            for mode, start in (
                    ("one JVM", hadoop.in_one_process(
                        options, self.hadoop, arguments, size)),
                    ("YARN", self.yarn.start(arguments, size))):
                whole = contest.add(f"Hadoop, {mode}", start, answer)
                contest.add_part(f"Hadoop, {mode}{WITHOUT}", whole, inside)


def _bars(section, contest, job, what):
    """Against the fastest way of each peer."""
    base = contest.contenders[0]
    bars = BARS.get(job, (None, None))
    for peer, bar in zip(PEERS, bars):
        for ending in ("", WITHOUT):
            medians = [contender.median() for contender in contest.contenders
                       if contender.name.startswith(peer)
                       and contender.name.endswith(WITHOUT) == bool(ending)]
            value = min(medians) / base.median() if medians else None
            if bar is None:
                if value is not None:
                    section.figure(f"{what}: {base.name} over {peer}{ending}",
                                   "times", value)
            else:
                section.at_least(
                    7, f"{what}: {base.name} over {peer}{ending}", value, bar)


def _not_measured(section):
    """Row 7 without peers: its bars are there, and none of them is held."""
    for job, bars in BARS.items():
        for peer, bar in zip(PEERS, bars):
            section.at_least(7, f"{job} over {peer}", None, bar)


def _measure(options, section, peers, cluster, title, job, program, data,
             expected, answer, behind=()):
    contest = Contest(f"peers, {title}", title, options.work / "out",
                      f"{spark.CONDITIONS}. {hadoop.CONDITIONS}. Millrace's "
                      "cluster is up, as YARN is. Without start-up: of Spark "
                      "the second job of a context, of Hadoop from the start "
                      "of the job's master; CPU is that of the whole process.")
    contest.expected = expected
    contest.warmers.append(lambda: inputs.read_all(data))
    extra = UNCOMPRESSED if job == "sort" else ()
    contest.add(f"{program}, cluster", ours.on(
        cluster, options, program, [data], contest.out, extra=extra,
        arguments=behind), answer)
    contest.add(f"{program}, local run", ours.local(
        options, program, [data], contest.out, extra=extra, arguments=behind),
                answer)
    peers.add(contest, job, data, answer, behind)
    contest.measure(options.rounds)
    section.add_contest(contest)
    _bars(section, contest, job, title)


def peers(options):
    """Word count, grep and sort, as rows 1, 3, 4 and 5 have them."""
    section = Section("peers")
    out = options.work / "out"
    counts = answers.Formed(out).by(answers.TAB_SEPARATED)
    with contextlib.ExitStack() as stack:
        installed = Peers(options, stack)
        if not installed.any():
            _not_measured(section)
            return section
        cluster = stack.enter_context(
            ours.clusters(options, "peers"))["cluster"]
        data = inputs.text(options)
        size = harness.size_text(data)
        _measure(options, section, installed, cluster,
                 f"word count of {size} of text", "wordcount", "wordcount",
                 data, references.counts(options, data), counts)
        tree = options.tree()
        if tree is not None:
            _measure(options, section, installed, cluster,
                     f"word count of {tree.name} in one file", "wordcount",
                     "wordcount", tree.one_file,
                     references.counts(options, tree.one_file), counts)
        pattern = searching.pattern_of(data)
        _measure(options, section, installed, cluster,
                 f"grep of a literal in {size} of text", "grep", "grep", data,
                 harness.digest_of(f"grep -F '{pattern}' '{data}'"),
                 answers.raw(out), [pattern])
        for scale in (1, EXTERNAL_SCALE):
            data = inputs.records(options, scale * options.size)
            _measure(options, section, installed, cluster,
                     f"sort of {harness.size_text(data)} of records", "sort",
                     "sort", data, references.sorted_lines(options, [data]),
                     answers.raw(out))
    return section
