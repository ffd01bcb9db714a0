"""Execute the notebooks and write them with what they showed: `python -m notebooks [04 ivf ...]`, all if none is named."""

import os
import sys
import time

from notebooks.running import SOURCES, execute, write


def main(names: list[str]) -> int:
    """Execute those whose names hold one of the words; 1 if a cell raised, 2 if a word is in no name."""
    unknown = [name for name in names if not any(name in source.stem for source in SOURCES)]
    if unknown:
        print(f"no notebook is called {unknown[0]!r}: {', '.join(source.stem for source in SOURCES)}", file=sys.stderr)
        return 2
    failed = 0
    for source in SOURCES:
        if names and not any(name in source.stem for name in names):
            continue
        started, cpu = time.perf_counter(), _cpu_of_kernels()
        try:
            path = write(execute(source), source)
        except Exception as error:  # whatever a cell raises: say it, and go on with the others
            print(f"{source.stem}: {error}", file=sys.stderr, flush=True)
            failed = 1
            continue
        took, size = time.perf_counter() - started, path.stat().st_size // 1000
        print(f"{source.stem}: {took:.1f} s, of which CPU {_cpu_of_kernels() - cpu:.1f} s; {size} kB", flush=True)
    return failed


def _cpu_of_kernels() -> float:
    """Seconds of CPU that the processes took that this one has started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
