"""Hadoop 3, from bench/peers/install: a YARN of one node, and its runner in
one process. How it is set up here is what tuning on a small machine asks for:
no more tasks than slots, one big split each, short heartbeats, sort buffers as
large as the budget allows."""

import os
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from xml.sax.saxutils import escape

import harness
from suite import processes, tools

OPENED = ["--add-opens=java.base/java.lang=ALL-UNNAMED"]
COLLECTOR = "-XX:+UseParallelGC"
READY_SECONDS = 120
MASTER_MEGABYTES = 1024
CONDITIONS = ("Hadoop 3.4.1, its jobs after its own examples; local files "
              "instead of HDFS, no compression, without its native library "
              "(only its binary release has that), output not synced")


def home():
    """The directory of its jars, or None with a message."""
    return tools.peer("Hadoop", "hadoop", "hadoop-jobs.jar")


def _free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _java_home():
    return pathlib.Path(shutil.which("java")).resolve().parent.parent


def job_settings(options, input_bytes):
    """Of each job: as many maps and reduces at a time as there are slots."""
    budget = harness.parse_size(options.memory) >> 20
    heap = budget * 4 // 5
    return {
        "mapreduce.map.memory.mb": budget,
        "mapreduce.reduce.memory.mb": budget,
        "mapreduce.map.java.opts": f"-Xmx{heap}m {COLLECTOR}",
        "mapreduce.reduce.java.opts": f"-Xmx{heap}m {COLLECTOR}",
        "mapreduce.task.io.sort.mb": min(1024, heap // 2),
        "mapreduce.task.io.sort.factor": 64,
        "mapreduce.job.reduce.slowstart.completedmaps": "1.0",
        "mapreduce.input.fileinputformat.split.minsize":
            min(512 << 20, max(1 << 20, input_bytes // options.slots)),
        "mapreduce.map.speculative": "false",
        "mapreduce.reduce.speculative": "false",
        "mapreduce.local.map.tasks.maximum": options.slots,
        "mapreduce.local.reduce.tasks.maximum": options.slots,
    }


def _command(directory, conf, settings, arguments, heap):
    flags = [f"-D{name}={value}" for name, value in settings.items()]
    return ["java", *OPENED, COLLECTOR, f"-Xmx{heap}m", "-cp",
            f"{conf}:{directory}/hadoop-jobs.jar:{directory}/hadoop/*",
            "HadoopJobs", *flags, *map(str, arguments)]


def in_one_process(options, directory, arguments, input_bytes):
    """A start for LocalJobRunner: threads of one JVM, which has the memory of
    all tasks."""
    budget = harness.parse_size(options.memory) >> 20
    settings = {**job_settings(options, input_bytes),
                "mapreduce.framework.name": "local",
                "mapreduce.task.io.sort.mb": min(1024, budget * 2 // 5),
                "hadoop.tmp.dir": options.work / "hadoop-local"}
    command = _command(directory, options.work, settings, arguments,
                       budget * options.slots)
    return lambda: processes.run(command)


class Yarn:
    """ResourceManager and NodeManager on this machine, ready when entered."""

    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.work = options.work / "yarn"
        self.daemons = {}
        self.logs = []

    def __enter__(self):
        harness.remove(self.work)
        self.work.mkdir()
        self._write_settings()
        began = time.monotonic()
        try:
            for name, main in (("master", "resourcemanager.ResourceManager"),
                               ("worker", "nodemanager.NodeManager")):
                self._start(name, f"org.apache.hadoop.yarn.server.{main}")
            self._await_node()
        except BaseException:
            self.__exit__()
            raise
        self.ready_seconds = time.monotonic() - began
        return self

    def __exit__(self, *_):
        for daemon in self.daemons.values():
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for log in self.logs:
            log.close()
        harness.remove(self.work)

    def start(self, arguments, input_bytes):
        """A start for a job on this YARN."""
        settings = {**job_settings(self.options, input_bytes),
                    "mapreduce.framework.name": "yarn"}
        command = _command(self.directory, self.work, settings, arguments, 512)

        def run():
            roles = {name: [daemon.pid]
                     for name, daemon in self.daemons.items()}
            with processes.Watch(roles) as watch:
                used = processes.run(command, self._environment())
            used.cpu += watch.cpu
            used.roles = watch.peaks
            used.peak = max([used.peak, *watch.peaks.values()])
            return used
        return run

    def _environment(self):
        return dict(os.environ, LC_ALL="C", JAVA_HOME=str(_java_home()),
                    HADOOP_CONF_DIR=str(self.work))

    def _start(self, name, main):
        log = open(self.work / f"{name}.log", "w", encoding="utf-8")
        self.logs.append(log)
        self.daemons[name] = subprocess.Popen(
            ["java", *OPENED, "-Xmx512m",
             f"-Dyarn.log.dir={self.work}", "-cp",
             f"{self.work}:{self.directory}/hadoop/*", main],
            env=self._environment(), stdout=log, stderr=log)

    def _await_node(self):
        end = time.monotonic() + READY_SECONDS
        nodes = f"http://127.0.0.1:{self.web}/ws/v1/cluster/nodes"
        while True:
            try:
                with urllib.request.urlopen(nodes, timeout=5) as answer:
                    if b"RUNNING" in answer.read():
                        return
            except (urllib.error.URLError, OSError):
                pass
            if time.monotonic() > end or any(
                    daemon.poll() is not None
                    for daemon in self.daemons.values()):
                ends = [(self.work / f"{name}.log").read_text()[-1500:]
                        for name in self.daemons]
                raise processes.Failed("YARN does not start:\n" +
                                       "\n".join(ends))
            time.sleep(0.05)

    def _write_settings(self):
        ports = _free_ports(5)
        self.web = ports[4]
        budget = harness.parse_size(self.options.memory) >> 20
        jars = f"{self.directory}/hadoop/*"
        addresses = dict(zip(
            ("address", "scheduler.address", "resource-tracker.address",
             "admin.address", "webapp.address"),
            (f"127.0.0.1:{port}" for port in ports)))
        opened = " ".join(OPENED)
        settings = {
            "hadoop.tmp.dir": self.work / "tmp",
            "yarn.app.mapreduce.am.staging-dir": self.work / "staging",
            **{f"yarn.resourcemanager.{name}": address
               for name, address in addresses.items()},
            "yarn.resourcemanager.scheduler.class":
                "org.apache.hadoop.yarn.server.resourcemanager.scheduler."
                "fifo.FifoScheduler",
            "yarn.resourcemanager.nodemanagers.heartbeat-interval-ms": 50,
            "yarn.scheduler.minimum-allocation-mb": 256,
            "yarn.nodemanager.hostname": "127.0.0.1",
            "yarn.nodemanager.address": "127.0.0.1:0",
            "yarn.nodemanager.localizer.address": "127.0.0.1:0",
            "yarn.nodemanager.webapp.address": "127.0.0.1:0",
            "yarn.nodemanager.resource.memory-mb":
                MASTER_MEGABYTES + budget * self.options.slots,
            "yarn.nodemanager.resource.cpu-vcores": self.options.slots + 1,
            "yarn.nodemanager.vmem-check-enabled": "false",
            "yarn.nodemanager.aux-services": "mapreduce_shuffle",
            "yarn.nodemanager.local-dirs": self.work / "local",
            "yarn.nodemanager.log-dirs": self.work / "logs",
            "yarn.nodemanager.disk-health-checker."
            "max-disk-utilization-per-disk-percentage": 100,
            "yarn.application.classpath": jars,
            "mapreduce.application.classpath": jars,
            "mapreduce.shuffle.port": 0,
            "yarn.app.mapreduce.am.resource.mb": MASTER_MEGABYTES,
            "yarn.app.mapreduce.am.command-opts": f"-Xmx768m {opened}",
            "yarn.app.mapreduce.am.scheduler.heartbeat.interval-ms": 50,
        }
        text = "".join(
            f"<property><name>{name}</name><value>{escape(str(value))}</value>"
            "</property>\n" for name, value in settings.items())
        (self.work / "log4j.properties").write_text(
            "log4j.rootLogger=WARN,all\n"
            "log4j.appender.all=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.all.target=System.err\n"
            "log4j.appender.all.layout=org.apache.log4j.PatternLayout\n"
            "log4j.appender.all.layout.ConversionPattern=%d %p %c: %m%n\n")
        for name in ("core", "yarn", "mapred"):
            (self.work / f"{name}-site.xml").write_text(
                f"<configuration>\n{text}</configuration>\n")
