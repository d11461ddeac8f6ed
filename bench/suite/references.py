"""What the answers must be, found by Unix tools; kept beside the data."""

import os
import sys

import harness
from suite import answers

SPACE = r"\t\n\v\f\r "


def _kept(path, what, shell_command):
    """What a command prints, kept in a file."""
    if not path.exists():
        print(f"reference: {what}", file=sys.stderr, flush=True)
        partial = path.with_suffix(".partial")
        harness.output_of(f"{{ {shell_command}; }} >'{partial}'")
        partial.rename(path)
    return path


def counts(options, data, times=1):
    """Digest of word<TAB>count lines, sorted, of a text read `times` times."""
    counted = _kept(
        options.work / f"{data.name}.counts", f"words of {data.name}",
        f"tr -s '{SPACE}' '\\n' <'{data}' | sed '/^$/d' | "
        f"sort --parallel={os.cpu_count()} -S 1G -T '{options.work}' | "
        f"uniq -c")
    in_form = answers.UNIQ_C
    if times > 1:
        in_form = f"awk '{{ print $2 \"\\t\" $1 * {times} }}' | sort"
    return harness.digest_of(f"cat '{counted}' | {in_form}")


def sorted_lines(options, files):
    """Digest of all lines of the files in their order."""
    names = " ".join(f"'{file}'" for file in files)
    digest = _kept(
        options.work / f"{files[0].name}-x{len(files)}.sorted",
        f"order of {files[0].name} and {len(files) - 1} more",
        f"sort --parallel={os.cpu_count()} -S 1G -T '{options.work}' {names} |"
        " sha256sum | cut -d' ' -f1")
    return digest.read_text().strip()
