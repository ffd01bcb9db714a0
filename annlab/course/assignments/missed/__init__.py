"""Assignment: What an approximate search misses, and where it lies."""
