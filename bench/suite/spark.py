"""Spark 3, from bench/peers/install: threads of one JVM, or its local cluster,
where each executor is a JVM of its own."""

import os

import harness
from suite import processes, tools

CONDITIONS = ("Spark 3.5.9, RDDs of Java, Kryo, parallel collector, shuffle "
              "compressed with lz4 (its default), local files, output not "
              "synced")
OVERHEAD_MEGABYTES = 512  # Of the driver that runs no tasks.


def home():
    """Where it is installed, or None with a message."""
    return tools.peer("Spark", "spark", "spark-jobs.jar")


def modes(options):
    """Name to master and memory: as much in all as Millrace's tasks have."""
    budget = harness.parse_size(options.memory) >> 20
    return {
        f"local[{options.slots}]":
            ["--master", f"local[{options.slots}]", "--driver-memory",
             f"{budget * options.slots}m"],
        f"cluster of {options.slots} executors":
            ["--master", f"local-cluster[{options.slots},1,{budget}]",
             "--driver-memory", f"{OVERHEAD_MEGABYTES}m", "--executor-memory",
             f"{budget}m", "--executor-cores", "1"],
    }


def start(options, directory, mode, arguments):
    """A start for one process of spark-submit."""
    settings = {
        "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.extraJavaOptions": "-XX:+UseParallelGC",
        "spark.executor.extraJavaOptions": "-XX:+UseParallelGC",
        "spark.local.dir": options.work / "spark-local",
        "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": 2,
    }
    flags = []
    for name, value in settings.items():
        flags += ["--conf", f"{name}={value}"]
    command = [directory / "spark" / "bin" / "spark-submit", *mode, *flags,
               "--class", "SparkJobs", directory / "spark-jobs.jar",
               *arguments]
    environment = dict(os.environ, LC_ALL="C",
                       SPARK_HOME=str(directory / "spark"),
                       SPARK_LOCAL_IP="127.0.0.1")

    def run():
        used = processes.run(command, environment)
        for left in (options.work / "spark-local",
                     directory / "spark" / "work"):
            harness.remove(left)
        return used
    return run
