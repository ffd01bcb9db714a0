"""The family of hashes: random projections that turn vectors into bits."""
