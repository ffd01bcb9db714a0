"""Assignment: Image patches by locality-sensitive hashing, against linear search."""
