"""Kernels of trees: building, walking, and what becomes of a leaf's rows."""
