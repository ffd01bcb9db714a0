"""Vectors as values, and which instructions they become."""
