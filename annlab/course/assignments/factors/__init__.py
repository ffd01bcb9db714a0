"""Assignment: LSH, hypercube and inverted file on images, with approximation factors."""
