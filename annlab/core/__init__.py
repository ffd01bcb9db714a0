"""What all indexes share, whatever algorithm finds the neighbours: states, ids, filters, searching, writing, files."""
