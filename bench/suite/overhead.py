"""What a cluster costs when there is nothing to do: row 9; and under many jobs
at once."""

import json
import os
import subprocess
import time

import harness
from suite import answers, ours
from suite.contest import Contest
from suite.local_cluster import Cluster
from suite.report import Section

SLOTS = 2


def seconds(function):
    began = time.monotonic()
    function()
    return time.monotonic() - began


def _empty_input(options):
    data = options.work / "empty-input"
    data.write_bytes(b"")
    return data


def _cluster(options, name):
    return Cluster(options, name, "--workers", SLOTS, "--slots", 1,
                   masters=options.masters)


def _write_synced(directory):
    """A file of 4 KiB, synced and renamed: what a commit waits for the disk,
    several times in an empty job."""
    new = directory / "synced.new"
    with open(new, "wb") as file:
        file.write(b"\0" * 4096)
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, directory / "synced")


def empty(options, section):
    """A job that does nothing: as a local run, and on a warm cluster through
    the client library and as the process `millrace submit` sees it."""
    runs = options.rounds * 10
    data = _empty_input(options)
    out = options.work / "out"
    contest = Contest("empty", "A job that does nothing", out)
    contest.add("empty, local run, start to exit",
                ours.local(options, "empty", [data], out), answers.raw(out))
    contest.measure(runs)
    section.add_contest(contest)
    with _cluster(options, "empty") as cluster:
        outputs = options.work / "empty-outputs"
        harness.remove(outputs)
        outputs.mkdir()
        library = subprocess.run(
            [options.bench / "submit_bench", "--cluster", cluster.masters,
             "--program", options.bin / "empty", "--input", data,
             "--output", f"{outputs}/library-", "--runs", str(runs + 3)],
            check=True, capture_output=True, text=True).stdout.split()
        # The first three warm everything up.
        library = [float(t) for t in library[3:]]
        processes, syncs = [], []
        for i in range(runs):
            processes.append(1000 * seconds(lambda i=i: cluster.millrace(
                "submit", options.bin / "empty", "-q", "--input", data,
                "--output", outputs / f"cli-{i}")))
            syncs.append(1000 * seconds(lambda: _write_synced(options.work)))
        if len(list(outputs.glob("*/_MANIFEST"))) != 2 * runs + 3:
            harness.die("an empty job left no committed output")
        harness.remove(outputs)
    for name, times, bar, aim in (
            ("empty job, client library", library, 15, 8),
            ("empty job, as the CLI process", processes, 40, 25)):
        section.figure(name, "ms", None, times)
        section.at_most(9, f"{name}, ms", section.figures[-1]["median"], bar,
                        aim)
    section.figure("beside it, a small file synced", "ms", None, syncs)


def ready(options, section):
    """From nothing until a cluster of one master has done an empty job."""
    data = _empty_input(options)
    out = options.work / "out"
    up, job = [], []
    for _ in range(options.rounds):
        harness.remove(out)
        began = time.monotonic()
        with _cluster(options, "ready") as cluster:
            cluster.millrace("submit", options.bin / "empty", "-q", "--input",
                             data, "--output", out)
            job.append(1000 * (time.monotonic() - began))
            up.append(1000 * cluster.ready_seconds)
            if not (out / "_MANIFEST").exists():
                harness.die("an empty job left no committed output")
    harness.remove(out)
    section.figure("cluster up until it is ready", "ms", None, up)
    section.figure("the same and an empty job", "ms", None, job)
    section.at_most(9, "cluster up and an empty job, ms",
                    section.figures[-1]["median"], 400, 150)


def maps(options, section):
    """A job of many empty map tasks: time of each, the master's growth."""
    count = options.maps
    data = options.work / f"lines-{count}"
    data.write_bytes(b"0123456789abcde\n" * count)
    out = options.work / "out"
    harness.remove(out)
    with _cluster(options, "maps") as cluster:
        def job(split):
            cluster.millrace("submit", options.bin / "empty", "-q", "--input",
                             data, "--output", out, "--split-bytes", split)
            done = json.loads(cluster.millrace("list", "-o", "json"))[0]
            harness.remove(out)
            return done["maps"]["total"]

        job(16 * count)  # Warm: one map.
        before = cluster.resident_kib("master-1")
        times = []
        for _ in range(max(1, options.rounds // 2)):
            began = time.monotonic()
            done = job(16)
            times.append(1000 * (time.monotonic() - began) * SLOTS / done)
        growth = cluster.resident_kib("master-1") - before
    if done != count:
        harness.die(f"{done} maps instead of {count}")
    section.figure(f"{done:,} empty maps, each, on a slot", "ms", None, times)
    section.at_most(9, "an empty map on a slot, ms",
                    section.figures[-1]["median"], 1, 0.5)
    section.figure("the master's growth, per task", "KiB",
                   growth / done / len(times))


def many(options, section):
    """50 jobs at once, the list of jobs asked for all the while."""
    jobs = 50
    data = options.work / "many-input"
    data.write_bytes(b"to be or not to be\n" * 100)
    outputs = options.work / "many-outputs"
    harness.remove(outputs)
    outputs.mkdir()
    with _cluster(options, "many") as cluster:
        lines = subprocess.run(
            [options.bench / "submit_bench", "--cluster", cluster.masters,
             "--program", options.bin / "wordcount", "--input", data,
             "--output", f"{outputs}/", "--runs", str(jobs), "--at-once"],
            check=True, capture_output=True, text=True).stdout.splitlines()
        late = [float(line.split()[1]) for line in lines
                if line.startswith("control ")]
        listed = [float(line) for line in lines[:-1]
                  if not line.startswith("control ")]
        elapsed = float(lines[-1].split()[1]) / 1000
        digests = {harness.digest_of(f"cat '{outputs}/{i}'/part-*")
                   for i in range(jobs)}
        if len(digests) != 1:
            harness.die("the jobs' outputs differ")
    harness.remove(outputs)
    section.figure(f"{jobs} jobs at once", "s", elapsed)
    section.figure("the list of jobs meanwhile", "ms", None, listed)
    section.figure("a thread that does nothing, late by", "ms", None, late)


def overhead(options):
    """Row 9."""
    section = Section("overhead")
    empty(options, section)
    ready(options, section)
    maps(options, section)
    return section
