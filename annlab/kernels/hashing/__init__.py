"""Kernels of hashing: signs, Hamming distances, buckets, rotations."""
