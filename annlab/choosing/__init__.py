"""How an index is chosen by measuring; `annlab/tuning.py` is the page."""
