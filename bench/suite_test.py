#!/usr/bin/env python3
"""Tests of bench/suite: above all, that a wrong output has no number."""

import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from xml.etree import ElementTree

import harness
from suite import (answers, contest, inputs, kernels, peers, plot, processes,
                   profile, report, searching, shuffle, trust)


class WithDirectory(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.work = pathlib.Path(temporary.name)
        self.out = self.work / "out"

    def write(self, name, content):
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def printer(self, text):
        """A start that leaves `text` in the output."""
        return contest.command([
            sys.executable, "-c", "import sys; "
            f"open({str(self.out)!r}, 'w').write({text!r})"])


class AnswerTest(WithDirectory):
    def test_forms_of_the_same_counts_are_one_answer(self):
        formed = answers.Formed(self.out)
        found = set()
        for content, shell_filter in (
                ("b\t2\na\t1\n", answers.TAB_SEPARATED),
                ("      2 b\n      1 a\n", answers.UNIQ_C),
                ("1 a\n2 b\n", answers.COUNT_FIRST),
                ("b\tf\t0\nb\tg\t7\na\tf\t3\n", answers.PLACES),
                ("b\tf\t0,5\na\tf\t3\n", answers.PLACES)):
            self.out.write_text(content)
            found.add(formed.by(shell_filter)())
        self.assertEqual(len(found), 1)

    def test_places_of_words_that_look_like_numbers_are_apart(self):
        formed = answers.Formed(self.out)
        self.out.write_text("1\tf\t0\n1.0\tf\t2\n01\tf\t6\n")
        apart = formed.by(answers.PLACES)()
        self.out.write_text("1\t1\n1.0\t1\n01\t1\n")
        self.assertEqual(apart, formed.by(answers.TAB_SEPARATED)())

    def test_one_count_that_differs_is_another_answer(self):
        formed = answers.Formed(self.out)
        self.out.write_text("a\t1\nb\t2\n")
        right = formed.by(answers.TAB_SEPARATED)()
        self.out.write_text("a\t1\nb\t3\n")
        self.assertNotEqual(formed.by(answers.TAB_SEPARATED)(), right)

    def test_part_files_are_read_in_order_and_nothing_else(self):
        self.write("out/part-00001", b"b")
        self.write("out/part-00000", b"a")
        self.write("out/_MANIFEST", b"x")
        self.write("out/.part-00000.crc", b"x")
        whole = self.write("whole", b"ab")
        self.assertEqual(answers.raw(self.out)(), answers.raw(whole)())


class ContestTest(WithDirectory):
    def contest(self, expected=None):
        made = contest.Contest("test", "Test", self.out)
        made.expected = expected
        return made

    def test_a_wrong_output_has_no_number(self):
        made = self.contest()
        made.add("first", self.printer("a\t1\n"), answers.raw(self.out))
        wrong = made.add("wrong", self.printer("a\t2\n"),
                         answers.raw(self.out))
        with self.assertRaisesRegex(answers.Wrong, "wrong has a wrong result"):
            made.measure(3)
        self.assertEqual(wrong.runs, [])

    def test_all_may_be_wrong_in_the_same_way(self):
        right = self.write("right", b"a\t1\n")
        made = self.contest(answers.raw(right)())
        made.add("first", self.printer("a\t2\n"), answers.raw(self.out))
        with self.assertRaises(answers.Wrong):
            made.measure(1)

    def test_an_output_of_the_round_before_is_none_of_this_one(self):
        made = self.contest()
        once = self.work / "once"
        made.add("once", contest.shell(
            f"[ -e '{once}' ] || echo a >'{self.out}'; touch '{once}'"),
                 answers.raw(self.out))
        with self.assertRaises(FileNotFoundError):
            made.measure(2)

    def test_a_failure_says_what_the_command_printed(self):
        made = self.contest()
        made.add("broken", contest.shell("echo why >&2; exit 3"),
                 answers.raw(self.out))
        with self.assertRaisesRegex(processes.Failed, "exited with 3:\nwhy"):
            made.measure(1)

    def test_a_part_has_a_row_and_no_run_of_its_own(self):
        made = self.contest()
        whole = made.add("whole", lambda: processes.Usage(4.0, 1.0, 1),
                         lambda: 0)
        made.add_part("part", whole, lambda used: used.elapsed / 4)
        made.measure(2)
        self.assertEqual([row["times_s"] for row in made.rows()],
                         [[4.0, 4.0], [1.0, 1.0]])

    def test_rounds_take_all_in_turn(self):
        order = []
        made = self.contest()
        for name in "ab":
            def start(name=name):
                order.append(name)
                return processes.Usage(2.0 if name == "b" else 1.0, 1.0, 1)
            made.add(name, start, lambda: 0)
        made.measure(3)
        self.assertEqual("".join(order), "ababab")
        self.assertEqual([row["ratio"] for row in made.rows()], [1.0, 2.0])
        self.assertEqual(made.share("b", "a"), 0.5)
        self.assertIsNone(made.share("b", "absent"))


class UsageTest(unittest.TestCase):
    def test_memory_and_cpu_of_a_command_are_seen(self):
        used = processes.run([
            sys.executable, "-c", "x = b'x' * (64 << 20); sum(range(10**6))"])
        self.assertGreater(used.peak, 64 << 20)
        self.assertGreater(used.cpu, 0)
        self.assertLessEqual(used.cpu, used.elapsed * os.cpu_count() + 0.1)

    def test_job_processes_of_a_daemon_are_seen(self):
        daemon = subprocess.Popen(
            ["bash", "-c", "read; "
             f"'{sys.executable}' -c \"x = b'x' * (64 << 20); print(flush="
             "True); input()\"; read"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            with processes.Watch({"worker": [daemon.pid]}) as watch:
                daemon.stdin.write(b"\n")
                daemon.stdin.flush()
                daemon.stdout.readline()  # The job has its memory.
                while watch.peaks.get("task", 0) < 64 << 20:
                    self.assertIsNone(daemon.poll())
        finally:
            daemon.stdin.close()
            daemon.wait()
            daemon.stdout.close()
        self.assertLess(watch.peaks["worker"], 64 << 20)
        self.assertGreater(watch.cpu, 0)


class InputTest(WithDirectory):
    def test_files_are_those_that_a_job_reads(self):
        for name in ("b", "a/x", ".hidden", "_left", ".git/x", "a/_y"):
            self.write(f"tree/{name}", b"x")
        (self.work / "tree" / "link").symlink_to(self.work / "tree" / "b")
        found = {path.name for path in inputs.files_below(self.work / "tree")}
        self.assertEqual(found, {"b", "x"})

    def test_pattern_is_a_word_of_the_text(self):
        data = self.write("text", b"the quick brown fox\nthe lazy dogs\n" * 9)
        self.assertIn(searching.pattern_of(data).encode(), data.read_bytes())

    def test_sizes(self):
        self.assertEqual(harness.parse_size("1.5G"), 3 << 29)
        self.assertEqual(harness.size_text(self.write("x", b"x" * 1536)),
                         "1.5 KiB")


class ReportTest(unittest.TestCase):
    def test_what_was_not_measured_is_not_passed(self):
        section = report.Section("x")
        section.at_least(7, "absent", None, 6)
        section.at_least(1, "fast", 0.6, 0.55, 0.8)
        section.at_most(9, "slow", 41, 40, 25)
        self.assertEqual([bar["held"] for bar in section.bars],
                         [None, True, False])
        table = "\n".join(report._bar_table([section]))
        self.assertIn("| 7 | absent |  | >= 6.00 |  | not measured |", table)
        self.assertIn("| 9 | slow | 41.00 | <= 40.00 | 25.00 | **missed** |",
                      table)

    def test_drawing_puts_points_where_they_are(self):
        text = plot.svg({"title": "a < b", "x": "GiB", "y": "seconds",
                         "lines": {"sort": [(1, 2.0), (2, 4.0), (4, 8.0)]}})
        root = ElementTree.fromstring(text)
        dots = root.findall("{http://www.w3.org/2000/svg}circle")
        xs = [float(dot.get("cx")) for dot in dots]
        ys = [float(dot.get("cy")) for dot in dots]
        self.assertTrue(math.isclose(xs[1] - xs[0], xs[2] - xs[1],
                                     abs_tol=0.2))
        self.assertTrue(math.isclose(ys[0] - ys[1], ys[1] - ys[2],
                                     abs_tol=0.2))
        self.assertLess(xs[0], xs[1])
        self.assertGreater(ys[0], ys[1])  # Down is less.

    def test_shuffle_lines_are_read(self):
        printed = ("tcp         1234 MB/s  (1000 to 2000, 7 rounds)\n"
                   "same host   9000 MB/s  (8000 to 9999, 7 rounds)\n")
        self.assertEqual(shuffle.parse(printed), {
            "tcp": (1234, 1000, 2000, 7), "same host": (9000, 8000, 9999, 7)})

    def test_peers_that_are_not_here_hold_no_bar(self):
        section = report.Section("peers")
        peers._not_measured(section)
        self.assertEqual([(bar["bar"], bar["held"]) for bar in section.bars],
                         [(15, None), (6, None), (6, None), (3, None)])

    def test_kernels_have_a_row_of_medians(self):
        table = {"run_name": "table:/20", "family_index": 0,
                 "per_family_instance_index": 0}
        runs = [{**table, "run_type": "iteration", "label": "known places",
                 "items_per_second": rate * 1e6, "roofline": 1e8,
                 "share": rate / 100, "cycles": 1000 / rate}
                for rate in (40, 10, 20)]
        mean = {**table, "run_type": "aggregate"}
        found = kernels.parse(json.dumps({"benchmarks": [*runs, mean]}))
        self.assertEqual(list(found), ["table: 20"])
        self.assertEqual(
            kernels._row("table: 20", found["table: 20"]),
            ["table: 20", "20 M/s", "50 per item", "known places", "100 M/s",
             "0.20", "0.10 to 0.40"])


class ProfileTest(unittest.TestCase):
    def test_samples_are_read(self):
        samples = list(profile.parse(
            "my job  17 \n\t  ffff12 ksys_fsync ([kernel.kallsyms])\n"
            "\t   a1 f(int) const (/bin/x)\n\n"
            "x 18 \n\n"
            "x 19 \n\t   b2 [unknown] (/bin/y (deleted))\n"))
        self.assertEqual([sample.process for sample in samples], [17, 18, 19])
        self.assertEqual([len(sample.frames) for sample in samples], [2, 0, 1])
        self.assertTrue(profile.in_kernel(samples[0].frames[0]))
        self.assertEqual(samples[0].frames[1],
                         profile.Frame(0xa1, "f(int) const", "/bin/x"))

    def test_lines_are_read_with_what_was_inlined(self):
        found = profile.parse_lines(
            "0x10\nmillrace::Hash64(a)\n"
            "/x/build/release/../../common/hash.h:17 (discriminator 2)\n"
            "F\n/x/engine/map/sort.h:3\n0x20\n??\n??:0\n")
        self.assertEqual([function.source for function in found[0x10]],
                         ["common/hash.h", "engine/map/sort.h"])
        self.assertEqual([function.name for function in found[0x20]], ["??"])

    def kind(self, *sources, name="f", frames=()):
        return trust.kind_of(
            [profile.Frame(0, symbol, file) for symbol, file in frames],
            [profile.Function(name, source) for source in sources])

    def test_hashes_count_for_what_they_are_made_for(self):
        made = ("/usr/include/xxhash.h", "common/hash.h")
        for sources, name, kind in (
                (("engine/format/block.cc",), "XXH3_hashLong_64b",
                 "checksums"),
                (("engine/format/index.cc",), "XXH3_64bits", "checksums"),
                (("engine/map/map_output_writer.cc",), "StreamHash64::Update",
                 "checksums"),
                ((), "XXH3_64bits", "checksums"),
                (("engine/format/ledger.h", "engine/map/record_buffer.cc"),
                 "XXH3_64bits", "ledger"),
                (("engine/merge/grouped_reader.cc",), "XXH3_64bits", "ledger"),
                (("engine/map/combine_table.cc",), "XXH3_64bits",
                 "hashes of keys")):
            self.assertEqual(self.kind(*made, *sources, name=name), kind)
        self.assertEqual(self.kind("engine/map/sort.h"), "rest")

    def test_syncs_are_the_logs_or_the_outputs(self):
        sync = (("iomap", "[kernel.kallsyms]"),
                ("__x64_sys_fdatasync", "[kernel.kallsyms]"))
        self.assertEqual(self.kind("raft/log/posix_disk.cc", frames=sync),
                         "log")
        self.assertEqual(self.kind("common/posix_file_system.cc", frames=sync),
                         "sync of outputs")

    def test_shares_are_of_all_samples(self):
        count = trust.Count()
        count.kinds.update(["checksums", "ledger", "rest", "rest"])
        self.assertEqual(count.percent(*trust.TRUST), 50)
        self.assertEqual(trust.Count().percent(*trust.TRUST), 0)


if __name__ == "__main__":
    unittest.main()
