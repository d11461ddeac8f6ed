"""Groups of word count: generated text, many small files."""

import harness
from suite import answers, inputs, ours, references, tools
from suite.contest import Contest, command, shell
from suite.report import Section

# Of perf.md, measured beside wc_fast: 256 MiB, 2 threads. Peers that are not
# installed are compared with by way of that yardstick.
PHOENIX_OF_WC_FAST = 0.24
THRILL_OF_WC_FAST = 0.16


def _wc_fast(options, contest, formed, data):
    program = tools.yardstick("wc_fast")
    if program is None:
        return None
    return contest.add(
        f"wc_fast, {options.slots} threads",
        command([program, data, options.slots, contest.out]),
        formed.by(answers.COUNT_FIRST)).name


def _unix(options, contest, formed, data):
    """mawk and the pipeline; their names, None where absent."""
    out = f"'{contest.out}'"
    mawk = tools.program("mawk")
    if mawk:
        contest.add(
            "mawk",
            shell(f"'{mawk}' '{{ for (i = 1; i <= NF; i++) c[$i]++ }} "
                  "END { for (w in c) print w \"\\t\" c[w] }' "
                  f"'{data}' >{out}"),
            formed.by(answers.TAB_SEPARATED))
    contest.add(
        "tr, sort, uniq -c",
        shell(f"tr -s '{references.SPACE}' '\\n' <'{data}' | "
              f"sort --parallel={options.slots} -S {options.memory} "
              f"-T '{options.work}' | uniq -c >{out}"),
        formed.by(answers.UNIQ_C))


def wordcount(options):
    """Rows 1 and 2."""
    section = Section("wordcount")
    out = options.work / "out"
    data = inputs.text(options)
    contest = Contest("wordcount", f"Word count, {harness.size_text(data)} of "
                      "Zipf text", out)
    contest.expected = references.counts(options, data)
    contest.warmers.append(lambda: inputs.read_all(data))
    formed = answers.Formed(out)
    answer = formed.by(answers.TAB_SEPARATED)
    with ours.clusters(options, "wordcount") as clusters:
        for program in ours.programs(options, "wordcount", "wordcount_custom"):
            contest.add(program, ours.local(options, program, [data], out),
                        answer)
            for shape, cluster in clusters.items():
                contest.add(f"{program}, {shape}", ours.on(
                    cluster, options, program, [data], out), answer)
        fast = _wc_fast(options, contest, formed, data)
        _unix(options, contest, formed, data)
        contest.measure(options.rounds)
    section.add_contest(contest)
    _wordcount_bars(section, contest, fast)
    return section


def _wordcount_bars(section, contest, fast):
    share = contest.share
    cluster = "wordcount, cluster"
    section.at_least(1, "local run over wc_fast", share("wordcount", fast),
                     0.55, 0.80)
    section.at_least(1, "cluster over wc_fast", share(cluster, fast), 0.45,
                     0.70)
    for peer, of_fast in (("Phoenix++", PHOENIX_OF_WC_FAST),
                          ("Thrill", THRILL_OF_WC_FAST)):
        measured = share(cluster, fast)
        section.at_least(
            2, f"cluster over {peer}, by way of wc_fast",
            None if measured is None else measured / of_fast, 1.0)
    section.at_least(2, "cluster over mawk", share(cluster, "mawk"), 12)
    section.at_least(2, "cluster over tr, sort, uniq -c",
                     share(cluster, "tr, sort, uniq -c"), 20)
    section.at_least("twin", "wordcount_custom over wordcount",
                     share("wordcount_custom", "wordcount"), 0.8)
    section.at_least("twin", "the same on the cluster",
                     share("wordcount_custom, cluster", cluster), 0.8)


def files(options):
    """Row 3: many small files with many distinct words."""
    section = Section("files")
    tree = options.tree()
    if tree is None:
        return None
    out = options.work / "out"
    one, many = [tree.one_file], [tree.directory]
    contest = Contest(
        "files", f"Word count, {tree.name}: {tree.count:,} files of "
        f"{harness.size_text(tree.one_file)}", out)
    contest.expected = references.counts(options, tree.one_file)
    contest.warmers += [lambda: inputs.read_all(tree.one_file),
                        lambda: inputs.read_all(tree.directory)]
    formed = answers.Formed(out)
    answer = formed.by(answers.TAB_SEPARATED)
    with ours.clusters(options, "files") as clusters:
        cluster = clusters["cluster"]
        for name, data in (("one file", one), ("all files", many)):
            contest.add(f"local run, {name}", ours.local(
                options, "wordcount", data, out), answer)
            contest.add(f"cluster, {name}", ours.on(
                cluster, options, "wordcount", data, out), answer)
        contest.add("local run, all files, 256 MiB", ours.local(
            options, "wordcount", many, out, memory="256M"), answer)
        contest.add("cluster, all files, 256 MiB", ours.on(
            cluster, options, "wordcount", many, out, memory="256M"), answer)
        fast = _wc_fast(options, contest, formed, tree.one_file)
        contest.measure(options.rounds)
    section.add_contest(contest)
    for name in ("local run, one file", "cluster, one file",
                 "local run, all files", "cluster, all files"):
        section.at_least(3, f"{name}, over wc_fast on the one file",
                         contest.share(name, fast), 0.45, 0.7)
    for name in ("local run", "cluster"):
        small = contest.find(f"{name}, all files, 256 MiB")
        section.at_most(11, f"task's peak over budget, {name}, 256 MiB",
                        max(used.roles.get("task", used.peak)
                            for used in small.runs) / (256 << 20), 1.25)
        section.figure(f"a file more, {name}", "us", 1e6 / tree.count * (
            contest.find(f"{name}, all files").median() -
            contest.find(f"{name}, one file").median()))
    return section
