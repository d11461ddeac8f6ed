"""Groups of sort: in memory, and with much less memory than data."""

import harness
from suite import answers, inputs, ours, references, tools
from suite.contest import Contest, command
from suite.report import Section

# Generated records compress better than others would.
UNCOMPRESSED = ("--codec", "none")
EXTERNAL_SCALE = 4  # Times --size; with an eighth of that as memory.


def _contest(options, name, data, budget, total_megabytes, conditions):
    """All who sort `data`: tasks of `budget` bytes each, others with as much
    as all tasks together. A contest that has not been measured yet, and what
    must be entered meanwhile."""
    out = options.work / "out"
    contest = Contest(name, f"Sort, {harness.size_text(data)} of 100-byte "
                      "records", out, conditions)
    contest.expected = references.sorted_lines(options, [data])
    contest.warmers.append(lambda: inputs.read_all(data))
    total = f"{total_megabytes}M"
    same_bytes = answers.raw(out)
    with ours.clusters(options, name) as clusters:
        for program in ours.programs(options, "sort", "sort_custom"):
            contest.add(program, ours.local(
                options, program, [data], out, budget, extra=UNCOMPRESSED),
                        same_bytes)
            for shape, cluster in clusters.items():
                contest.add(f"{program}, {shape}", ours.on(
                    cluster, options, program, [data], out, budget,
                    extra=UNCOMPRESSED), same_bytes)
        contest.add("GNU sort", command([
            "sort", f"--parallel={options.slots}", "-S", total, "-T",
            options.work, "-o", out, data]), same_bytes)
        extsort = tools.yardstick("extsort")
        if extsort:
            contest.add("extsort", command([
                extsort, data, out, options.slots, total_megabytes,
                options.work]), same_bytes)
        contest.measure(options.rounds)
    return contest


def sort(options):
    """Row 4, first half."""
    section = Section("sort")
    data = inputs.records(options)
    megabytes = options.slots * harness.parse_size(options.memory) >> 20
    contest = _contest(
        options, "sort", data, options.memory, megabytes,
        f"Memory: {options.memory} for each of {options.slots} tasks, "
        f"{megabytes} MiB for the others. GNU sort does not sync its file.")
    section.add_contest(contest)
    share = contest.share
    section.at_least(4, "sort, local run over GNU sort",
                     share("sort", "GNU sort"), 3, 4)
    for shape in ("cluster", "cluster, same host"):
        section.at_least(4, f"sort, {shape} over GNU sort",
                         share(f"sort, {shape}", "GNU sort"), 3, 4)
    section.at_least("twin", "sort_custom over sort",
                     share("sort_custom", "sort"), 0.8)
    return section


def external_sort(options):
    """Row 4, second half: four times the data, an eighth of it as memory
    in all."""
    section = Section("external_sort")
    data = inputs.records(options, EXTERNAL_SCALE * options.size)
    megabytes = max(32, EXTERNAL_SCALE * options.size >> 23)
    budget = f"{megabytes // options.slots}M"
    contest = _contest(
        options, "external_sort", data, budget, megabytes,
        f"Memory: {budget} for each of {options.slots} tasks, {megabytes} MiB "
        "for the others. GNU sort does not sync its file.")
    section.add_contest(contest)
    share = contest.share
    for name in ("sort", "sort, cluster", "sort, cluster, same host"):
        section.at_least(4, f"external: {name} over GNU sort",
                         share(name, "GNU sort"), 2, 3)
        section.at_least(4, f"external: {name} over extsort",
                         share(name, "extsort"), 0.45, 0.7)
        ours_ = contest.find(name)
        section.at_most(
            11, f"external: task's peak over budget, {name}",
            max(used.roles.get("task", used.peak) for used in ours_.runs) /
            harness.parse_size(budget), 1.25)
    return section
