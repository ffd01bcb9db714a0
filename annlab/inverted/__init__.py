"""The family of inverted files: k-means cells, and three ways to store their rows."""
