"""The kernels inside, each beside its roofline: what `kernels` says."""

import json
import statistics
import subprocess

from suite import tools
from suite.report import Section

# Of each measurement, in seconds.
MIN_TIME, MIN_TIME_SMOKE = 0.2, 0.01
UNITS = {  # Of the JSON to ours: name of a rate, its scale, a unit of work.
    "bytes_per_second": ("MB/s", 1e6, "byte"),
    "items_per_second": ("M/s", 1e6, "item"),
}


def parse(text):
    """Name of each kernel to its runs: each a dict of rate, roofline, share,
    cycles; and what they have in common: unit and what the roofline is."""
    found = {}
    # In the order of the program, not in that of the interleaved runs.
    for run in sorted(json.loads(text)["benchmarks"], key=lambda run: (
            run["family_index"], run["per_family_instance_index"])):
        if run.get("run_type", "iteration") != "iteration":
            continue
        if run.get("error_occurred"):
            raise ValueError(f"{run['name']}: {run.get('error_message')}")
        unit = next(unit for unit in UNITS if unit in run)
        # What Google Benchmark appends of an argument is part of the name.
        name = run["run_name"].replace(":/", ": ")
        kernel = found.setdefault(
            name, {"unit": unit, "what": run["label"], "runs": []})
        kernel["runs"].append({
            "rate": run[unit], "roofline": run["roofline"],
            "share": run["share"], "cycles": run["cycles"]})
    return found


def _row(name, kernel):
    rate, scale, work = UNITS[kernel["unit"]]

    def values(what):
        return [run[what] for run in kernel["runs"]]

    def median(what):
        return statistics.median(values(what))
    shares = values("share")
    return [name, f"{median('rate') / scale:,.0f} {rate}",
            f"{median('cycles'):.3g} per {work}", kernel["what"],
            f"{median('roofline') / scale:,.0f} {rate}",
            f"{median('share'):.2f}", f"{min(shares):.2f} to {max(shares):.2f}"]


def kernels(options):
    section = Section("kernels")
    program = options.bench / "kernels"
    if not program.exists():
        tools.skipped("kernels", "not built: configure with "
                      "-D MILLRACE_BENCH=ON")
        return None
    least = MIN_TIME_SMOKE if options.smoke else MIN_TIME
    done = subprocess.run(
        [program, "--benchmark_format=json", f"--benchmark_min_time={least}",
         f"--benchmark_repetitions={options.rounds}",
         "--benchmark_enable_random_interleaving=true"],
        stdout=subprocess.PIPE, text=True, check=True)
    section.sheet(
        "Kernels",
        "One thread, CPU time. The roofline is the least that any "
        "implementation has to do, measured right before the kernel on the "
        "same data; the share is how much of it the kernel reaches, the median "
        f"of {options.rounds} rounds.",
        ["", "measured", "cycles", "roofline", "measured", "share",
         "min to max"],
        [_row(name, kernel) for name, kernel in parse(done.stdout).items()])
    return section
