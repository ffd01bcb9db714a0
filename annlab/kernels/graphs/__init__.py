"""Kernels of graphs: building and walking them."""
