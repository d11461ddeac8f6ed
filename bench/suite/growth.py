"""Rows 10 and 11: how time and memory grow with data, tasks and slots.

Points of a line are contenders of one contest, so each round has all of them.
"""

import contextlib
import statistics

import harness
from suite import answers, inputs, ours, references
from suite.contest import Contest
from suite.local_cluster import Cluster
from suite.report import Section
from suite.sorting import UNCOMPRESSED

SORT_BUDGET = "256M"
MIB = 1 << 20


def _points(section, title, x, names, lines):
    """A drawing of contenders' medians: name of a line to (x, contender)."""
    drawn = {}
    for name in names:
        drawn[name] = [(at, contender.median())
                       for at, contender in lines[name]]
    section.draw(title, x, "seconds", drawn)


def _warmed(data, start):
    """The same start, its data in the page cache as far as they fit."""
    def warmed():
        for path in data:
            inputs.read_all(path)
        return start()
    return warmed


def _peak(contender, role, of=max):
    return of([used.roles.get(role, 0) for used in contender.runs])


def _data(options, section):
    """1, 2, 4, 8 times --size on one cluster: slopes, memory."""
    out = options.work / "out"
    contest = Contest("growth of data", "Growth: data", out)
    formed = answers.Formed(out)
    factors = options.growth
    copies = inputs.text_copies(options, max(factors))
    records = [inputs.records(options, seed=seed)
               for seed in range(1, max(factors) + 1)]
    lines = {"wordcount": [], "sort": []}
    with ours.clusters(options, "growth") as clusters:
        for program, budget, source, extra in (
                ("wordcount", options.memory, copies, ()),
                ("sort", SORT_BUDGET, records, UNCOMPRESSED)):
            answer = (formed.by(answers.TAB_SEPARATED)
                      if program == "wordcount" else answers.raw(out))
            for factor in factors:
                data = source[:factor]
                expected = (
                    references.counts(options, inputs.text(options), factor)
                    if program == "wordcount"
                    else references.sorted_lines(options, data))
                lines[program].append((factor, contest.add(
                    f"{program}, {factor} x", _warmed(data, ours.on(
                        clusters["cluster, same host"], options, program,
                        data, out, budget, extra=extra)),
                    answer, expected)))
        contest.measure(options.rounds)
    section.add_contest(contest)
    scale = options.size / (1 << 30)
    _points(section, "Time over data", "GiB", lines, {
        name: [(factor * scale, contender) for factor, contender in line]
        for name, line in lines.items()})
    for program, budget in (("wordcount", options.memory),
                            ("sort", SORT_BUDGET)):
        line = lines[program]
        for (_, less), (factor, more) in zip(line, line[1:]):
            ratio = more.median() / less.median()
            section.at_most(10, f"{program}, {factor} x: time over that of "
                            "half the data", ratio, 2.2)
            section.at_least(10, "the same", ratio, 1.9)
        section.at_most(
            11, f"{program}: task's peak over budget",
            max(_peak(contender, "task") for _, contender in line) /
            harness.parse_size(budget), 1.25)
        for role in ("worker", "master"):
            # The first job of a cluster sends its program, which costs memory.
            peaks = [_peak(contender, role, statistics.median)
                     for _, contender in line]
            section.figure(f"{program}: {role}'s peak, 1 x", "MiB",
                           peaks[0] / MIB)
            section.at_most(11, f"{program}: {role}'s peak at most over least",
                            max(peaks) / min(peaks), 1.1)


def _tasks(options, section):
    """The same text in ever more map tasks."""
    out = options.work / "out"
    contest = Contest("growth of tasks", "Growth: map tasks", out)
    data = inputs.text(options)
    contest.expected = references.counts(options, data)
    contest.warmers.append(lambda: inputs.read_all(data))
    answer = answers.Formed(out).by(answers.TAB_SEPARATED)
    line = []
    with ours.clusters(options, "tasks") as clusters:
        for count in options.map_counts:
            split = ["--split-bytes", -(-options.size // count)]
            line.append((count, contest.add(f"{count:,} maps", ours.on(
                clusters["cluster, same host"], options, "wordcount", [data],
                out, extra=split), answer)))
        contest.measure(options.rounds)
    section.add_contest(contest)
    _points(section, "Time over map tasks, same data", "maps", ["wordcount"],
            {"wordcount": line})
    for (less, before), (more, after) in zip(line, line[1:]):
        each = (after.median() - before.median()) / (more - less)
        section.at_most(10, f"ms a map more on a slot, {less:,} to {more:,}",
                        1000 * each * options.slots, 1)
    section.at_most(11, "master's KiB per map task, most maps over least",
                    (_peak(line[-1][1], "master", statistics.median) -
                     _peak(line[0][1], "master", statistics.median)) / 1024 /
                    (line[-1][0] - line[0][0]), 2)


def _slots(options, section):
    """Workers of one slot, fewer and more than there are cores."""
    out = options.work / "out"
    contest = Contest("growth of slots", "Growth: workers of one slot", out)
    data = inputs.text(options)
    contest.expected = references.counts(options, data)
    contest.warmers.append(lambda: inputs.read_all(data))
    answer = answers.Formed(out).by(answers.TAB_SEPARATED)
    line = []
    with contextlib.ExitStack() as stack:
        for count in options.slot_counts:
            cluster = stack.enter_context(Cluster(
                options, f"slots-{count}", "--workers", count, "--slots", 1,
                "--same-host"))
            line.append((count, contest.add(f"{count} slots", ours.on(
                cluster, options, "wordcount", [data], out), answer)))
        contest.measure(options.rounds)
    section.add_contest(contest)
    _points(section, "Time over slots, same data", "slots", ["wordcount"],
            {"wordcount": line})
    medians = {count: contender.median() for count, contender in line}
    if 1 in medians and 2 in medians:
        section.at_least(10, "one slot's time over that of two",
                         medians[1] / medians[2], 1.4)
    for count, bar in ((4, 1.1), (8, 1.2)):
        if 2 in medians and count in medians:
            section.at_most(10, f"{count} slots' time over that of two",
                            medians[count] / medians[2], bar)


def growth(options):
    """Rows 10 and 11."""
    section = Section("growth")
    _data(options, section)
    _tasks(options, section)
    _slots(options, section)
    return section
