"""How a Millrace job is started: as a local run, on a cluster."""

import contextlib

from suite import processes, tools
from suite.local_cluster import Cluster


def programs(options, *names):
    """Those of the samples that the directory of programs has."""
    for name in names:
        if (options.bin / name).exists():
            yield name
        else:
            tools.skipped(name, f"{options.bin} does not have it")


def _flags(data, out, memory, extra):
    flags = []
    for path in data:
        flags += ["--input", path]
    return [*flags, "--output", out, "--memory", memory, *extra]


def local(options, program, data, out, memory=None, slots=None, extra=(),
          arguments=(), under=tuple):
    """A start for `./program` with processes of its own. `under`: returns the
    words of a program that runs the command, anew for each run."""
    behind = ["--", *arguments] if arguments else []
    words = [options.bin / program, "--quiet", "--slots",
             slots or options.slots,
             *_flags(data, out, memory or options.memory, extra), *behind]
    return lambda: processes.run([*under(), *words])


def on(cluster, options, program, data, out, memory=None, extra=(),
       arguments=(), under=tuple):
    """A start for `millrace submit`, to the end of the job's commit."""
    return lambda: cluster.submit(
        options.bin / program,
        *_flags(data, out, memory or options.memory, extra),
        arguments=arguments, under=under())


@contextlib.contextmanager
def clusters(options, group, slots=None):
    """Two clusters of one master and as many workers of one slot as there are
    slots: one whose workers fetch over the network, one whose workers read each
    other's files. What is idle costs next to nothing."""
    shape = ["--workers", slots or options.slots, "--slots", 1]
    with Cluster(options, f"{group}-network", *shape) as network, \
         Cluster(options, f"{group}-same-host", *shape,
                 "--same-host") as same_host:
        yield {"cluster": network, "cluster, same host": same_host}
