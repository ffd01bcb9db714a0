"""Kernels of inverted files: which lists are near, and scans of three kinds of lists."""
