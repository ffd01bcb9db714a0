"""Reaching every node: a tree of links from the entries, which grows until no node is left out.

`parents` says from which node each one was reached first: -1 for entries, UNREACHED for those that were not. A link
from a parent to its child holds the child in; any other link may go without anybody being lost.
"""

from annlab.kernels.simd.path import entry, kernel

UNREACHED = -2


@kernel
def follow(links, parents, queue, at, end, most):
    """Go through the links of the nodes queue[at:end] and of what they reach, `most` nodes; the new at and end."""
    stop = at + most
    while at < end and at < stop:
        u = queue[at]
        at += 1
        for i in range(links.shape[1]):
            v = links[u, i]
            if v < 0:
                break
            if parents[v] == UNREACHED:
                parents[v] = u
                queue[end] = v
                end += 1
    return at, end


@entry
def spread(path, links, parents, queue, at, end, most):
    """`follow` for callers in Python, who stop it after some nodes so that Ctrl-C is answered."""
    return follow(links, parents, queue, at, end, most)


@kernel
def attach(links, parents, v, u):
    """Let v link to u: in an empty place, or in that of its farthest link that holds nobody in. False: it has none."""
    place, degree = -1, links.shape[1]
    for i in range(degree):
        w = links[v, i]
        if w < 0:
            place = i
            break
        if parents[w] != v:
            place = i
    if place < 0:
        return False
    links[v, place] = u
    parents[u] = v
    return True


@entry
def attach_by_links(path, links, parents, start, stop, queue):
    """Attach the unreached of the nodes start..stop-1 to the nearest nodes that they link to and that are reached.

    Returns how many nodes are reached now that were not.
    """
    more = 0
    for u in range(start, stop):
        if parents[u] != UNREACHED:
            continue
        for i in range(links.shape[1]):
            v = links[u, i]
            if v < 0:
                break
            if parents[v] != UNREACHED and attach(links, parents, v, u):
                queue[0] = u
                more += follow(links, parents, queue, 0, 1, links.shape[0])[1]
                break
    return more


@entry
def attach_one(path, links, parents, v, u):
    """`attach` for callers in Python."""
    return attach(links, parents, v, u)
