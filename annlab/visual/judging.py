"""Graded judgements: how similar a candidate is to a query, from 0 (not at all) to 3, as people or programs said.

They go to and from *qrels* files, as TREC writes them: one line a pair, ``query 0 candidate grade``, separated by
spaces; and to `annlab.evaluation.Judgements`, which the metrics take. Several judges may have judged a pair. A file and
the metrics want one grade: the median of them, the lower of two.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from annlab.encoders.outputs import refuse_existing, write_text
from annlab.evaluation import Judgements
from annlab.visual.catalog import Catalog, CatalogError
from annlab.visual.schema import judgements
from annlab.visual.upsert import upsert


def judge(catalog: Catalog, query_image_id: int, candidate_image_id: int, grade: int, judge: str, *,
          connection: Connection | None = None) -> None:  # fmt: skip
    """Remember a judgement; a later one of the same judge on the same pair takes its place."""
    _store(catalog, [(query_image_id, candidate_image_id, grade)], judge, connection)


def read_judgements(catalog: Catalog, *, judge: str | None = None) -> Judgements:
    """All judgements, or those of one judge, one grade a pair, for the metrics."""
    triples = _grades(catalog, judge)
    if not triples:
        return Judgements([0], [], query_ids=[])
    queries, candidates, grades = zip(*triples)
    return Judgements.from_triples(queries, candidates, grades)


def export_qrels(catalog: Catalog, path: str | os.PathLike[str], *, judge: str | None = None,
                 overwrite: bool = False) -> int:  # fmt: skip
    """Write the judgements as a qrels file; how many lines. FileExistsError if the file is there already."""
    refuse_existing([Path(path)], overwrite)
    triples = _grades(catalog, judge)
    text = "".join(f"{query} 0 {candidate} {grade}\n" for query, candidate, grade in triples)
    write_text(Path(path), text)
    return len(triples)


def import_qrels(catalog: Catalog, path: str | os.PathLike[str], *, judge: str = "qrels") -> int:
    """Read a qrels file as the judgements of one judge; all of it or nothing. How many there were.

    Raises
    ------
    CatalogError
        A line is no judgement, or names an image that is not in the catalog; with the number of the line.
    """
    found: dict[tuple[int, int], tuple[int, int]] = {}
    lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 4 or not (parts[0] + parts[2] + parts[3].removeprefix("-")).isdecimal():
            raise CatalogError(f"{path}, line {number}: not `query 0 candidate grade` with the ids of images")
        query, candidate, grade = int(parts[0]), int(parts[2]), int(parts[3])
        if not 0 <= grade <= 3:
            raise CatalogError(f"{path}, line {number}: grade {grade}; grades are 0 to 3: map others to these first")
        before = found.setdefault((query, candidate), (grade, number))
        if before[0] != grade:
            pair = f"query {query} and candidate {candidate}"
            raise CatalogError(f"{path}, line {number}: {pair} have grade {grade}, but {before[0]} in line {before[1]}")
    known = {image.id for image in catalog.find(ids=[id for both in found for id in both])}
    for both, (_, number) in found.items():
        for id in both:
            if id not in known:
                raise CatalogError(f"{path}, line {number}: image {id} is not in the catalog, or was deleted")
    _store(catalog, [(*both, grade) for both, (grade, _) in found.items()], judge, None)
    return len(found)


def _store(catalog: Catalog, triples: Iterable[tuple[int, int, int]], judge: str, connection: Any) -> None:
    now = catalog.now()
    same = {"judge": judge, "judged_at": now}
    rows = [{"query_image_id": q, "candidate_image_id": c, "grade": int(grade), **same} for q, c, grade in triples]
    with catalog.writing(connection) as active:
        upsert(active, judgements, rows)


def _grades(catalog: Catalog, judge: str | None) -> list[tuple[int, int, int]]:
    """One grade a pair, in the order of query and candidate."""
    c = judgements.c
    query = select(c.query_image_id, c.candidate_image_id, c.grade)
    if judge is not None:
        query = query.where(c.judge == judge)
    grades: dict[tuple[int, int], list[int]] = defaultdict(list)
    with catalog.database.reading() as connection:
        for first, second, grade in connection.execute(query):
            grades[first, second].append(grade)
    return [(*pair, sorted(given)[(len(given) - 1) // 2]) for pair, given in sorted(grades.items())]
