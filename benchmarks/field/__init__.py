"""``python -m benchmarks run``: every index of annlab and every installed peer on one's own data, and a report.

The other suites ask one question each, with settings that somebody who knows the data has chosen. This one chooses for
itself, within the same number of seconds for each index, and so can be pointed at any data:

1. `contestants.py` lists who takes part, and what is tried of each: values to build with, and one search parameter
   ("effort") that trades time for recall.
2. `tuning.py` spends the budget on queries that are not reported, and keeps the settings near the front.
3. `running.py` lets what was chosen take turns in one process (`harness.py`), for each k, one query at a time and in
   batches, and stores the ids and times of every query, raw. A run that was stopped goes on where it stood.
4. `verdicts.py` computes recall, times at equal recall, and who is first: with intervals by bootstrap over queries and
   rounds, and "tie" where the interval holds 1.
5. `filters.py` and `runbook.py` are the two further regimes: searches with a filter, and rows that come and go.
6. `page.py` writes it all as one HTML file that needs no network.
"""
