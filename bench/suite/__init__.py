"""The parts of bench/run and bench/cluster: one concept a module."""
