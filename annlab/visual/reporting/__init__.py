"""The report of a catalog: one page that opens without a network, each plot with the sentence that it shows.

numbers.py     what is measured: clicks, offline measures, coverage, latency, memory
charts.py      points with intervals, as SVG that takes its colours from the page
page.py        sections, tables and sentences
"""
