"""Kernels of exact scanning: one query or many, floats or bytes."""
