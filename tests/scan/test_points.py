"""Where vectors lie, measured: also of rows of which some, or all, are none."""

import numpy as np
import pytest

from annlab.distances import METRICS
from annlab.scan.points import Extent


@pytest.mark.parametrize("metric", METRICS.values(), ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_move_nothing(metric, value):
    """As a mapped file that is damaged can hold them: all other rows are found as before."""
    vectors = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32) + 5
    damaged = np.insert(vectors, [0, 17, 40], np.array([1, value, 2], np.float32), axis=0)
    whole, found = Extent.of(vectors, metric), Extent.of(damaged, metric)
    np.testing.assert_array_equal(found.center, whole.center)
    numbers = (found.reach, found.largest_norm, found.smallest_norm)
    assert numbers == (whole.reach, whole.largest_norm, whole.smallest_norm)
    nothing = Extent.of(damaged[:1], metric)
    assert (nothing.center == 0).all() and (nothing.reach, nothing.largest_norm) == (0, 0)
