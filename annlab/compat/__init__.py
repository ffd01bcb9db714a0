"""Doors to interfaces that other libraries made common: existing code tries annlab by changing an import."""
