"""Contenders of one question, measured in turn, each output checked."""

import os
import statistics
import sys

import harness
from suite import answers, processes


class Contender:
    """Something that turns the group's data into `out`, and how to check it.

    `start` runs it once and returns its Usage. `answer` returns the answer that
    it left in `out`, in the form in which all contenders give it; `expected` is
    what it must be, if that is not the same for the whole contest.
    """

    def __init__(self, name, start, answer, expected=None):
        self.name = name
        self.start = start
        self.answer = answer
        self.expected = expected
        self.runs = []
        self.parts = []  # (contender without a start, what part of a run)

    def times(self):
        return [used.elapsed for used in self.runs]

    def median(self):
        return statistics.median(self.times())


class Contest:
    """What is compared with what, and on which conditions."""

    def __init__(self, name, title, out, conditions=""):
        self.name = name
        self.title = title
        self.out = out
        self.conditions = conditions
        self.contenders = []
        self.warmers = []  # Called before each run: data into the page cache.
        self.expected = None  # The answer; otherwise the first contender's.

    def add(self, name, start, answer, expected=None):
        contender = Contender(name, start, answer, expected)
        self.contenders.append(contender)
        return contender

    def add_part(self, name, whole, part):
        """Another row for a part of each run of the contender `whole`: `part`
        takes its Usage and returns seconds. CPU and memory are the whole's."""
        contender = Contender(name, None, None)
        whole.parts.append((contender, part))
        self.contenders.append(contender)
        return contender

    def find(self, name):
        for contender in self.contenders:
            if contender.name == name:
                return contender
        return None

    def measure(self, rounds):
        """Runs all contenders in turn, round by round. Raises
        answers.Wrong when one has another answer than expected, and
        processes.Failed when one fails: then no number of it counts."""
        for number in range(1, rounds + 1):
            for contender in self.contenders:
                if contender.start is None:
                    continue  # Its runs come with those of another.
                harness.remove(self.out)
                for warm in self.warmers:
                    warm()
                used = contender.start()
                self._check(contender)
                contender.runs.append(used)
                for other, part in contender.parts:
                    other.runs.append(processes.Usage(
                        part(used), used.cpu, used.peak, used.roles))
                print(f"{self.name} {number}/{rounds}: {contender.name} "
                      f"{used.elapsed:.3f} s", file=sys.stderr, flush=True)
        harness.remove(self.out)

    def _check(self, contender):
        answer = contender.answer()
        expected = contender.expected
        if expected is None:
            if self.expected is None:
                self.expected = answer
            expected = self.expected
        if answer != expected:
            raise answers.Wrong(f"{self.name}: {contender.name} has a wrong "
                                f"result ({answer}, not {expected}); see "
                                f"{self.out}")

    def rows(self):
        base = self.contenders[0].median()
        return [_row(contender, base) for contender in self.contenders]

    def share(self, ours, other):
        """How fast `ours` is, measured by `other`: 0.5 is half as fast, 3
        three times as fast. None: one of them was not measured."""
        first, second = self.find(ours), self.find(other)
        if first is None or second is None:
            return None
        return second.median() / first.median()


def _row(contender, base):
    row = {
        "name": contender.name,
        **harness.spread(contender.times()),
        # How many times as long as the first contender of the contest.
        "ratio": contender.median() / base,
        "cpu_s": statistics.median(used.cpu for used in contender.runs),
        "peak_bytes": max(used.peak for used in contender.runs),
        "times_s": contender.times(),
    }
    roles = {role for used in contender.runs for role in used.roles}
    for role in sorted(roles):
        row[f"{role}_peak_bytes"] = max(used.roles.get(role, 0)
                                        for used in contender.runs)
    return row


def command(words, environment=None):
    """A start for a contender that is one command."""
    return lambda: processes.run(words, environment)


def shell(line):
    """A start for a contender that is a pipeline."""
    return command(["bash", "-o", "pipefail", "-c", line],
                   dict(os.environ, LC_ALL="C"))
