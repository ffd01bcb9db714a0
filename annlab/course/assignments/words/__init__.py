"""Assignment: IVF-PQ from scratch on vectors like those of words."""
