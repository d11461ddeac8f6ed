"""Row 8: what shuffle_bench says, beside its bars."""

import re
import subprocess

from suite import tools
from suite.report import Section

LINE = re.compile(r"(\S[^0-9]*?) +(\d+) MB/s +\((\d+) to (\d+), (\d+) rounds\)")

SMALL = re.compile(r"a small section, +(\d+) to a call +([\d.]+) us +"
                   r"\(([\d.]+) to ([\d.]+)\)")


def parse(printed):
    """Name of each way to (median, least, most, rounds), MB/s."""
    return {match[1]: tuple(map(int, match.groups()[1:]))
            for match in LINE.finditer(printed)}


def shuffle(options):
    section = Section("shuffle")
    program = options.bench / "shuffle_bench"
    if not program.exists():
        tools.skipped("shuffle", "shuffle_bench is not built: configure with "
                      "-D MILLRACE_BENCH=ON")
        return None
    megabytes = max(16, min(256, options.size >> 20))
    done = subprocess.run(
        [program, "--megabytes", str(megabytes), "--rounds",
         str(options.rounds)], capture_output=True, text=True, check=True)
    rates = parse(done.stdout)
    for name, (median, least, most, rounds) in rates.items():
        section.figures.append({
            "figure": f"{name}, {megabytes} MB", "unit": "MB/s",
            "median": median, "min": least, "max": most, "runs": rounds})
    for match in SMALL.finditer(done.stdout):
        median, least, most = map(float, match.groups()[1:])
        section.figures.append({
            "figure": f"CPU of a small section, {match[1]} to a call",
            "unit": "us", "median": median, "min": least, "max": most,
            "runs": options.rounds})
    section.at_least(8, "same host over cached read()",
                     rates["same host"][0] / rates["read"][0], 0.6, 0.8)
    section.at_least(8, "between workers over raw TCP",
                     rates["fetcher"][0] / rates["tcp"][0], 0.5, 0.7)
    return section
