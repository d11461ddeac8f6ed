"""Results as tables, JSON and verdicts."""

import json

import harness
from suite import plot, tools

MIB = 1 << 20


class Section:
    """What one group has to say: tables of contenders, other tables, single
    figures, bars that were set before, series to draw."""

    def __init__(self, name):
        self.name = name
        self.tables = []
        self.sheets = []
        self.figures = []
        self.bars = []
        self.series = []
        self.notes = []

    def add_contest(self, contest):
        self.tables.append({"title": contest.title,
                            "conditions": contest.conditions,
                            "rows": contest.rows()})

    def sheet(self, title, conditions, columns, rows):
        """A table of texts, as it is to be printed."""
        self.sheets.append({"title": title, "conditions": conditions,
                            "columns": columns, "rows": rows})

    def figure(self, name, unit, value, runs=None):
        """A single number, or the median of `runs`."""
        row = {"figure": name, "unit": unit}
        row.update(harness.spread(runs) if runs else {"median": value})
        self.figures.append(row)

    def at_least(self, row, what, value, bar, aim=None):
        self._bar(row, what, value, bar, aim, ">=")

    def at_most(self, row, what, value, bar, aim=None):
        self._bar(row, what, value, bar, aim, "<=")

    def _bar(self, row, what, value, bar, aim, relation):
        """`value` None: not measured, which is never passed."""
        held = None
        if value is not None:
            held = value >= bar if relation == ">=" else value <= bar
        self.bars.append({"row": row, "what": what, "value": value,
                          "relation": relation, "bar": bar, "aim": aim,
                          "held": held})

    def draw(self, title, x, y, lines):
        """`lines`: name to list of (x, y). Both axes are logarithmic."""
        self.series.append({"title": title, "x": x, "y": y, "lines": lines})


def _number(value):
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _contest_table(table):
    first = table["rows"][0]["name"]
    lines = [f"### {table['title']}", ""]
    if table["conditions"]:
        lines += [table["conditions"], ""]
    lines += [f"| | median | min to max | times {first} | user + sys "
              "| peak RSS of one process |", "|---|---|---|---|---|---|"]
    for row in table["rows"]:
        lines.append(
            f"| {row['name']} | {row['median']:.3f} s "
            f"| {row['min']:.3f} to {row['max']:.3f} s "
            f"| {row['ratio']:.2f} | {row['cpu_s']:.2f} s "
            f"| {_peaks(row)} |")
    return lines + [""]


def _peaks(row):
    roles = [f"{role} {row[f'{role}_peak_bytes'] / MIB:.0f}"
             for role in ("task", "worker", "master")
             if f"{role}_peak_bytes" in row]
    return (", ".join(roles) or f"{row['peak_bytes'] / MIB:.0f}") + " MiB"


def _sheet_table(sheet):
    lines = [f"### {sheet['title']}", ""]
    if sheet["conditions"]:
        lines += [sheet["conditions"], ""]
    lines += [f"| {' | '.join(row)} |" for row in (
        sheet["columns"], ["---"] * len(sheet["columns"]), *sheet["rows"])]
    return lines + [""]


def _figure_table(figures):
    lines = ["| | median | min to max | runs |", "|---|---|---|---|"]
    for row in figures:
        spread = (f"{_number(row['min'])} to {_number(row['max'])}"
                  if "min" in row else "")
        lines.append(f"| {row['figure']} | {_number(row['median'])} "
                     f"{row['unit']} | {spread} | {row.get('runs', 1)} |")
    return lines + [""]


def _bar_table(sections):
    lines = ["| # | | measured | bar | aim | |", "|---|---|---|---|---|---|"]
    verdicts = {True: "held", False: "**missed**", None: "not measured"}
    for section in sections:
        for bar in section.bars:
            lines.append(
                f"| {bar['row']} | {bar['what']} | {_number(bar['value'])} "
                f"| {bar['relation']} {_number(bar['bar'])} "
                f"| {_number(bar['aim'])} | {verdicts[bar['held']]} |")
    return lines + [""]


def markdown(options, machine, sections):
    described = ", ".join(f"{k} {v}" for k, v in machine.items())
    lines = []
    if getattr(options, "smoke", False):
        lines = ["A smoke run: it shows that everything works. Its figures "
                 "mean nothing.", ""]
    lines += [
        f"{options.size / MIB:.0f} MiB, {options.rounds} rounds in turn, "
        f"{options.slots} slots of {options.memory} each unless said, input "
        "read into the page cache before each run, output to the page cache "
        "(ours synced), intermediate data compressed as is the default (none "
        "in a local run, lz4 on a cluster; none for sort), checksums, ledger "
        "and commit on. Each output was checked before its time counted. "
        f"Machine: {described}. Tools: "
        + "; ".join(tools.versions().values()) + ".", ""]
    if any(section.bars for section in sections):
        lines += _bar_table(sections)
    for section in sections:
        for table in section.tables:
            lines += _contest_table(table)
        for sheet in section.sheets:
            lines += _sheet_table(sheet)
        if section.figures:
            lines += [f"### {section.name}", "",
                      *_figure_table(section.figures)]
        lines += [f"{note}\n" for note in section.notes]
        for number, series in enumerate(section.series):
            lines += [f"![{series['title']}]({_drawing(section, number)})", ""]
    return "\n".join(lines)


def _drawing(section, number):
    return f"{section.name}-{number + 1}.svg"


def write(options, sections, missing):
    """results.json, results.md and the drawings into the work directory."""
    machine = {**harness.machine(options.bin),
               "instruction set": harness.instruction_set()}
    results = {
        "machine": machine, "tools": tools.versions(), "size": options.size,
        "rounds": options.rounds, "slots": options.slots,
        "memory": options.memory, "not_measured": missing,
        "sections": [vars(section) for section in sections]}
    (options.work / "results.json").write_text(
        json.dumps(results, indent=2) + "\n")
    text = markdown(options, machine, sections)
    if missing:
        text += "\nNot measured: " + "; ".join(missing) + ".\n"
    (options.work / "results.md").write_text(text)
    for section in sections:
        for number, series in enumerate(section.series):
            (options.work / _drawing(section, number)).write_text(
                plot.svg(series))
    return text
