"""annlab: nearest-neighbour search that a person can read, and the visual search system around it."""

__version__ = "0.1.0"
