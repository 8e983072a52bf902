"""What ends a benchmark with one line instead of a traceback."""


class BenchmarkError(Exception):
    """Something on this machine keeps the benchmark from running; the text names it and the mend."""
