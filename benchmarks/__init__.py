"""Benchmarks: annlab against its peers, under the rules of a fair comparison. Run ``python -m benchmarks --help``.

environment   starts a fair process, checks it, refuses a strawman
hardware      the machine's limits, measured
data          real sets from a folder, synthetic ones of any size
oracle        the right answer, and how much of it an answer holds
peers         the libraries, each behind the same few methods
harness       build once, sweep the search, take turns, keep raw times
frontier      Pareto front, and comparison at equal recall
report        tables for people, JSON for everything else
plots         recall against speed
exact         the suite for exact search (one module a suite)
kernels/      pytest-benchmark for single kernels
"""
