"""A plugin of pytest for a process on another SIMD path: it leaves of the contract what a path can change.

Paths differ in how wide registers are, in what instructions there are, and so in tiles, buffers and the ends of rows;
never in what follows from an answer. So what is left are answers and filters, of one entry for each set of kernels:
scans, hashes, trees, lists and graphs, for every metric, on rows of all lengths, by batches, single queries and radii.
Kernels are compiled for float32; for float64, where the same code has half as many lanes, those of ExactIndex.
"""

import pytest

MODULES = ("test_answers", "test_filters")
SAME_KERNELS = ("Toy", "DividedTree", "Vamana")  # none; those of KDTree; those of the two walked ones
IN_FLOAT64 = ("Exact",)
MAKE_FLOAT64 = ("test_agrees_with_the_textbook", "test_a_row_is_at_distance_zero_from_itself",
                "test_no_queries_get_no_answers", "test_neighbours_of_all_rows_leave_out_the_row_itself")  # fmt: skip
ONE_METRIC = ("test_every_kind_of_filter", "test_statistics_count_what_each_query_cost")
OF_ALGORITHMS = ("test_recall_at_default_parameters", "test_the_same_seed_gives_the_same_index")


def differs(item: pytest.Item) -> bool:
    """Whether a test may come out otherwise on another path."""
    module = item.path.stem
    given = item.callspec.params if hasattr(item, "callspec") else {}
    if "contract" not in item.path.parts:
        return True
    if module not in MODULES or "entry" not in given or str(given["entry"]) in SAME_KERNELS:
        return False
    in_float64 = "float64" in str(given.get("name")) or item.originalname in MAKE_FLOAT64
    if item.originalname in OF_ALGORITHMS:
        return False
    if in_float64 and str(given["entry"]) not in IN_FLOAT64:
        return False
    return item.originalname not in ONE_METRIC or given.get("metric", "l2") == "l2"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if not differs(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if differs(item)]
