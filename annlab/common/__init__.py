"""What every room may use, and what knows no other room: checks, threads, sets of rows, memory, results, progress."""
