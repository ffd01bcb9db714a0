"""The family of trees: boxes or balls, one inside the other."""
