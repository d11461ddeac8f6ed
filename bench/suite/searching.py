"""Groups of grep and of the inverted index."""

import collections
import re

import harness
from suite import answers, inputs, ours, references, tools
from suite.contest import Contest, shell
from suite.report import Section

SAMPLE_BYTES = 4 << 20
LINES_PER_GIB = 4200  # That the pattern is in, about.


def pattern_of(data):
    """A word of four letters or more that is in about LINES_PER_GIB lines of
    each GiB of a text, chosen from its first bytes."""
    with open(data, "rb") as file:
        lines = file.read(SAMPLE_BYTES).split(b"\n")[:-1]
    words = collections.Counter(
        word for line in lines for word in set(line.split())
        if re.fullmatch(b"[a-z]{4,6}", word))
    wanted = max(1, round(LINES_PER_GIB / (1 << 30) * SAMPLE_BYTES))
    best = min(sorted(words), key=lambda word: abs(words[word] - wanted))
    return best.decode()


def grep(options):
    """Row 5. Millrace writes the lines, which must be those of GNU grep; to
    count alone is what the others are asked for, besides."""
    section = Section("grep")
    data = inputs.text(options)
    pattern = pattern_of(data)
    out = options.work / "out"
    expected = harness.digest_of(f"grep -F '{pattern}' '{data}'")
    count = int(harness.output_of(f"grep -cF '{pattern}' '{data}'"))
    contest = Contest(
        "grep", f"Grep of a literal, {harness.size_text(data)} of text", out,
        f"`{pattern}`, in {count:,} lines. Counts go through a pipe.")
    contest.warmers.append(lambda: inputs.read_all(data))
    contest.expected = expected
    same_bytes, counted = answers.raw(out), answers.number(out)
    with ours.clusters(options, "grep") as clusters:
        for program in ours.programs(options, "grep", "grep_custom"):
            contest.add(program, ours.local(
                options, program, [data], out, arguments=[pattern]),
                        same_bytes)
            for shape, cluster in clusters.items():
                contest.add(f"{program}, {shape}", ours.on(
                    cluster, options, program, [data], out,
                    arguments=[pattern]), same_bytes)
        contest.add("GNU grep -c", shell(
            f"grep -cF '{pattern}' '{data}' | cat >'{out}'"), counted, count)
        contest.add("GNU grep", shell(
            f"grep -F '{pattern}' '{data}' >'{out}'"), same_bytes)
        ripgrep = tools.program("rg")
        if ripgrep:
            contest.add("ripgrep -c", shell(
                f"'{ripgrep}' -cF '{pattern}' '{data}' | cat >'{out}'"),
                        counted, count)
        contest.measure(options.rounds)
    section.add_contest(contest)
    for name in ("grep", "grep, cluster"):
        section.at_least(5, f"{name}, over GNU grep -c",
                         contest.share(name, "GNU grep -c"), 1)
        section.at_least(5, f"{name}, over ripgrep -c",
                         contest.share(name, "ripgrep -c"), 0.35, 0.6)
    section.at_least("twin", "grep_custom over grep",
                     contest.share("grep_custom", "grep"), 0.8)
    return section


def index(options):
    """Row 6. The same bytes as many files and as one: what is more is the
    files' cost, and that of their places: a word has one for each file that it
    is in, so this is more than the cost of opening and reading a file."""
    section = Section("index")
    tree = options.tree()
    if tree is None:
        return None
    out = options.work / "out"
    contest = Contest(
        "index", f"Inverted index, {tree.name}: {tree.count:,} files of "
        f"{harness.size_text(tree.one_file)}", out)
    # As many places of a word as it is there.
    contest.expected = references.counts(options, tree.one_file)
    contest.warmers += [lambda: inputs.read_all(tree.one_file),
                        lambda: inputs.read_all(tree.directory)]
    answer = answers.Formed(out).by(answers.PLACES)
    with ours.clusters(options, "index") as clusters:
        for name, start in (
                ("local run", lambda data: ours.local(
                    options, "inverted_index", data, out)),
                ("cluster", lambda data: ours.on(
                    clusters["cluster"], options, "inverted_index", data,
                    out))):
            contest.add(f"{name}, all files", start([tree.directory]), answer)
            contest.add(f"{name}, one file", start([tree.one_file]), answer)
        contest.measure(options.rounds)
    section.add_contest(contest)
    for name in ("local run", "cluster"):
        more = (contest.find(f"{name}, all files").median() -
                contest.find(f"{name}, one file").median())
        section.at_most(6, f"us a file beyond bytes, {name}",
                        1e6 * more / tree.count, 50, 20)
    return section
