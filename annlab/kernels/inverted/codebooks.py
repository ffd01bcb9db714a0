"""The codewords of a product quantizer: k-means of sixteen centroids in each group of a few coordinates.

There are many groups, thousands for vectors of thousands of dimensions, and each is a small problem. So one call does
many of them from the seeds to the end. Sixteen codewords are the sixteen lanes of a vector: a row meets all of them at
once, coordinate by coordinate, and the smallest lane is its codeword.

Seeds are drawn as in k-means++ (D. Arthur, S. Vassilvitskii, SODA 2007), and centroids overshoot, as `annlab/kmeans.py`
explains. A codeword that loses all its rows is put on the row that is farthest from its own. Each group is computed for
itself, in one order, so the result depends on neither the other groups nor the threads.
"""

import numpy as np

from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.registers import count, pointer
from annlab.kernels.simd.wide import load_sixteen, lowest_lane, minimum, splat_sixteen

CODEWORDS = 16
_OVERSHOOT = 0.5  # how much further than to the means codewords move
_STALLED = 1e-3  # a relative improvement below this ends the iterations
_ROWS = 64  # that are encoded together, so that codewords are read from the cache
_ZERO = np.float32(0)


@kernel
def nearest_word(x, book, sub_dim):
    """The codeword nearest to x (sub_dim,), the first one of equals, and its squared distance."""
    squares = splat_sixteen(_ZERO)
    for j in range(sub_dim):
        difference = splat_sixteen(x[j]) - load_sixteen(book + j * CODEWORDS)
        squares = squares + difference * difference
    smallest = minimum(squares)
    equal = squares <= smallest
    return count((equal & -equal) - 1), lowest_lane(smallest)


@kernel
def put(x, book, sub_dim, word):
    """Make a row a codeword."""
    for j in range(sub_dim):
        book[j * CODEWORDS + word] = x[j]


@kernel
def seed_words(x, n, stride, sub_dim, draws, book, nearest):
    """Draw codewords from n rows, which are `stride` apart: each with a probability that grows with D^2.

    draws (16,): numbers of 0..1; nearest (n,) float64 receives the squared distances to the nearest codeword.
    """
    row = min(int(draws[0] * n), n - 1)
    for i in range(n):
        nearest[i] = np.inf
    for word in range(CODEWORDS):
        total = 0.0
        for i in range(n):
            squared = 0.0
            for j in range(sub_dim):
                difference = np.float64(x[i * stride + j]) - x[row * stride + j]
                squared += difference * difference
            nearest[i] = min(nearest[i], squared)
            total += nearest[i]
        put(x + row * stride, book, sub_dim, word)
        if word + 1 == CODEWORDS:
            return
        target, passed, row = draws[word + 1] * total, 0.0, min(int(draws[word + 1] * n), n - 1)
        for i in range(n if total > 0 else 0):
            passed += nearest[i]
            if nearest[i] > 0:
                row = i
            if passed > target and nearest[i] > 0:
                break


@kernel
def assign_rows(x, n, stride, sub_dim, book, nearest, sums, sizes):
    """Sum the rows (sums (16, sub_dim) float64) and count them (sizes) by their codeword; their error.

    nearest (n,) receives every row's squared distance.
    """
    for k in range(CODEWORDS * sub_dim):
        sums[k] = 0.0
    for word in range(CODEWORDS):
        sizes[word] = 0
    error = 0.0
    for i in range(n):
        row = x + i * stride
        word, squared = nearest_word(row, book, sub_dim)
        nearest[i] = squared
        error += squared
        sizes[word] += 1
        for j in range(sub_dim):
            sums[word * sub_dim + j] += row[j]
    return error


@kernel
def move_words(x, n, stride, sub_dim, book, nearest, sums, sizes, overshoot):
    """Move every codeword to the mean of its rows and beyond, or to the farthest row if it has none."""
    for word in range(CODEWORDS):
        if sizes[word] > 0:
            for j in range(sub_dim):
                mean = sums[word * sub_dim + j] / sizes[word]
                book[j * CODEWORDS + word] = np.float32(mean + overshoot * (mean - book[j * CODEWORDS + word]))
            continue
        farthest = 0
        for i in range(n):
            if nearest[i] > nearest[farthest]:
                farthest = i
        nearest[farthest] = 0.0
        put(x + farthest * stride, book, sub_dim, word)


@entry
def learn(path, points, draws, first, last, passes, nearest, sums, sizes, books):
    """The codewords books (n_groups, sub_dim, 16) float32 of the groups first..last-1.

    points (n, n_groups * sub_dim) float32; draws (n_groups, 16) float64 of 0..1; at most so many passes over the rows.
    Scratch: nearest (n,) and sums (16 * sub_dim,) float64, sizes (16,) int64.
    """
    n, stride, sub_dim = points.shape[0], points.shape[1], books.shape[1]
    x, draw, book = pointer(points), pointer(draws), pointer(books)
    near, sum_of, size_of = pointer(nearest), pointer(sums), pointer(sizes)
    for group in range(first, last):
        own, words = x + group * sub_dim, book + group * sub_dim * CODEWORDS
        seed_words(own, n, stride, sub_dim, draw + group * CODEWORDS, words, near)
        before = np.inf
        for one in range(passes):
            error = assign_rows(own, n, stride, sub_dim, words, near, sum_of, size_of)
            ends = one == passes - 1 or before - error < _STALLED * error
            move_words(own, n, stride, sub_dim, words, near, sum_of, size_of, 0.0 if ends else _OVERSHOOT)
            if ends:
                break
            before = error


@entry
def encode(path, points, books, first, last, codes):
    """codes (n, n_groups) uint8 of the rows first..last-1 of points (n, n_groups * sub_dim) float32."""
    n_groups, sub_dim, stride = books.shape[0], books.shape[1], points.shape[1]
    x, book, code = pointer(points), pointer(books), pointer(codes)
    for start in range(first, last, _ROWS):
        stop = min(last, start + _ROWS)
        for group in range(n_groups):
            words = book + group * sub_dim * CODEWORDS
            for i in range(start, stop):
                word, _ = nearest_word(x + i * stride + group * sub_dim, words, sub_dim)
                code[i * n_groups + group] = np.uint8(word)
