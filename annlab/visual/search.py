"""VisualSearch: from a query to a page of ranked results, over a catalog and its index.

    with VisualSearch.open("photos.db") as search:
        answer = search.search(ById(7), k=20, viewer=Viewer(user_id=3), filters=Filters(tags=("shoe",)))
        answer.results, answer.total, answer.cursor         # the next page: search(..., cursor=answer.cursor)

    query --> vector (queries.py) --> the nearest pictures that the viewer may see and the filters let through
          (facts.py, candidates.py) --> scores, and the cut (relevance.py) --> a window behind the cursor (cursors.py)
          --> stages (reranking.py) --> a page, with the rows of its images

The images that are looked at are the nearest `LOOKED_AT`, or twice and four times as many where pages go deeper. So a
page costs about the same wherever it is, and `total` says how many of those are within the cut.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, cast

import numpy as np
from sqlalchemy import select

from annlab.common import validation
from annlab.common.statistics import SearchStats
from annlab.durable import DurableIndex, stored
from annlab.encoders.encoder import Encoder
from annlab.index import Index
from annlab.visual import cursors, relevance, schema
from annlab.visual.candidates import by_index, by_scan, by_tags, parameters_of, plan_of, vectors_of
from annlab.visual.catalog import Catalog, CatalogError, Image
from annlab.visual.click_rates import ClickRates, read_click_rates
from annlab.visual.cursors import Cursor
from annlab.visual.encoder_rows import FIRST_INDEX
from annlab.visual.facts import CatalogFacts, Facts, ImageFilter, words_of
from annlab.visual.paging import LOOKED_AT as LOOKED_AT
from annlab.visual.paging import Clock, Page, Request, Source, checked
from annlab.visual.pair import copy_of, encoder_of, folder_of
from annlab.visual.queries import ById, ByText, ByUpload, Crop, Embedding, Query, Several
from annlab.visual.relevance import Relevance
from annlab.visual.reranking import About, Stage, rank, read_ranking
from annlab.visual.scoring import Scoring, relevance_of
from annlab.visual.sense import sense_of
from annlab.visual.shown import Seen, rows_of, seen
from annlab.visual.stages import ClickBoost
from annlab.visual.viewers import Filters, NotFound, QueryError, TextUnavailable, Viewer

__all__ = ["Answer", "ById", "ByText", "ByUpload", "Crop", "Filters", "NotFound", "QueryError", "Result", "Several",
           "TextUnavailable", "Viewer", "VisualSearch"]  # fmt: skip


ANYBODY, NO_FILTERS = Viewer(), Filters()


class Result(NamedTuple):
    """One picture of a page.

    Attributes
    ----------
    id : int
        The image that is shown of it.
    distance : float
        From the query, as the index measures.
    score : float
        How likely it is relevant, 0..1.
    image : Seen
        What the viewer may know of it.
    folded : tuple of int
        Near-duplicates that are shown under it.
    way : list of str or None
        What each stage did to it, where it was asked for.
    """

    id: int
    distance: float
    score: float
    image: Seen
    folded: tuple[int, ...] = ()
    way: list[str] | None = None


@dataclass(frozen=True)
class Answer:
    """A page of results.

    Attributes
    ----------
    results : list of Result
    cursor : str or None
        For the next page; None on the last one.
    total : int
        Pictures within the cut, among those that were looked at.
    weaker : int
        Pictures that were looked at and are beyond the cut.
    cutoff : float
        The score at which the cut is.
    timings : dict
        Milliseconds by stage, and of all together.
    plan : str
        How the index answered, in words.
    notes : list of str
        What the person should know: words were searched in tags, say.
    stats : SearchStats
        What the index counted.
    """

    results: list[Result]
    cursor: str | None
    total: int
    weaker: int
    cutoff: float
    timings: dict[str, float]
    plan: str
    notes: list[str]
    stats: SearchStats


class VisualSearch:
    """The prediction pipeline over a catalog; safe from any number of threads. Made by `open`.

    Attributes
    ----------
    catalog : Catalog
    index : DurableIndex or Index
        An `Index` where it was opened to be read only.
    encoder : Encoder
    stages : list of Stage
        Of its ranking.
    relevance : Relevance or None
        What scores come from; without it they fall evenly with the distance, and nothing is cut off.
    """

    def __init__(self, catalog: Catalog, index: DurableIndex | Index, encoder: Encoder, *, ranking: Path | None = None,
                 relevance: Relevance | None = None, encoder_folder: Path | None = None, threads: int = 1,
                 facts: CatalogFacts | None = None) -> None:  # fmt: skip
        """Over parts that are open already, and stay open; `relevance` and `facts` are made if they are not given."""
        for row in catalog.encoders():
            if row["role"] == "current" and row["fingerprint"] != encoder.fingerprint:
                raise CatalogError(f"the images of this catalog are embedded by {row['name']} ({row['fingerprint']}), "
                                   f"not by {encoder.name} ({encoder.fingerprint})")  # fmt: skip
        self.catalog, self.encoder = catalog, encoder
        self.index = cast(DurableIndex, index)  # who writes to it opens it alone
        self._threads = validation.as_integer("threads", threads, 1)
        self._view = index.view if isinstance(index, DurableIndex) else index.branch
        self._ranking, self.stages = ranking, read_ranking(ranking)
        self._clicks: ClickRates | None = None
        self.refresh_clicks()
        self._facts = facts or CatalogFacts(catalog)
        self._embedding = Embedding(catalog, index, encoder, sense_of(catalog, self._facts.now()))
        self.relevance = relevance or relevance_of(catalog, index, encoder, self._facts.now(), encoder_folder)
        self._closing = ExitStack()
        with catalog.database.reading() as connection:
            secret = connection.scalar(select(schema.settings.c.value).where(schema.settings.c.name == "secret"))
        self._secret = str(secret).encode()

    @classmethod
    def open(cls, catalog: str, *, index_folder: str | Path | None = None, encoder: str | Encoder | None = None,
             ranking: Path | None = None, threads: int = 1, alone: bool = True) -> Self:  # fmt: skip
        """Open a catalog and its index for searching.

        Parameters
        ----------
        catalog : str
            A SQLite file, or an address such as ``postgresql://user@host/photos``.
        index_folder : path, optional
            Where the index lies; beside a catalog that is a file.
        encoder : str or Encoder, optional
            A name or folder, as for `load_encoder`; the one by which the catalog's images are embedded.
        ranking : path, optional
            The stages of re-ranking; the packaged ones.
        threads : int
            Of one search.
        alone : bool
            Whether to open the index for writing too, which one process at a time may. False: read it as it is stored
            at this moment, whoever has it; one in shards is opened for writing all the same.

        Raises
        ------
        FileNotFoundError
            There is no such catalog or index.
        ValueError
            The encoder is another one than the catalog's, or a file is damaged.
        """
        if "://" not in catalog and not Path(catalog).is_file():
            raise FileNotFoundError(f"there is no catalog {catalog}: annlab index FOLDER --into {catalog} makes one")
        folder: Path | None = None
        with ExitStack() as stack:
            opened = stack.enter_context(Catalog.open(catalog))
            place = folder_of(opened, catalog, index_folder)
            if not isinstance(encoder, Encoder):
                if encoder is None and opened.current_encoder() is None:
                    raise CatalogError(f"{catalog} has no images yet: annlab index FOLDER --into {catalog}")
                folder = Path(encoder) if encoder is not None and Path(encoder).is_dir() else None
                encoder = encoder_of(opened, place, encoder, threads)
                folder = folder or _with_relevance(place, encoder)
            index: DurableIndex | Index
            if alone or opened.sharding() is not None:
                index = stack.enter_context(opened.index(None, place))
            else:
                index = stored.read(place, database=opened.database, name=opened.index_name())
            search = cls(opened, index, encoder, ranking=ranking, encoder_folder=folder, threads=threads)
            search._closing = stack.pop_all()
        return search

    def successor(self) -> Self | None:
        """The same over the encoder that was promoted since this was opened, and its index; None while there is none.

        It uses the same catalog and closes no more than its index. This one answers searches as before, also when its
        index has been closed, so that others may open it.

        Raises
        ------
        InUseError
            The process that promoted it has not let go of it yet: ask again in a moment.
        """
        current = self.catalog.current_encoder()
        if current is None or not isinstance(self.index, DurableIndex):
            return None
        if (current["index_name"] or FIRST_INDEX) == self.index.name:
            return None
        place = self.index.path
        encoder = encoder_of(self.catalog, place, threads=self._threads)
        with ExitStack() as stack:
            index = stack.enter_context(self.catalog.index(None, place))
            search = type(self)(self.catalog, index, encoder, ranking=self._ranking, threads=self._threads,
                                encoder_folder=_with_relevance(place, encoder), facts=self._facts)  # fmt: skip
            search._closing = stack.pop_all()
        return search

    def close(self) -> None:
        """Close catalog and index, if `open` opened them."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def refresh_clicks(self, also: Sequence[Stage] = ()) -> None:
        """Read what was clicked since, if a stage asks for it: now and then, beside the searches. `also` are stages
        that searches will name."""
        if self._clicks is not None or any(isinstance(stage, ClickBoost) for stage in (*self.stages, *also)):
            self._clicks = read_click_rates(self.catalog)

    # ---- what there is

    @property
    def can_search_text(self) -> bool:
        """Whether words have a place among the images' vectors; elsewhere tags are searched."""
        return self._embedding.knows_text

    def allowed(self, viewer: Viewer, filters: Filters = NO_FILTERS) -> ImageFilter:
        """The pictures that a search may return, as `allowed=` of the index."""
        return self._facts.now().filter(viewer, filters)

    def seen(self, id: int, viewer: Viewer = ANYBODY) -> Seen | None:
        """What the viewer may know of an image that can be searched with; None if there is none for the viewer."""
        return seen(self._facts.now(), [id], viewer).get(id)

    def image(self, id: int, viewer: Viewer = ANYBODY) -> Image:
        """An image that the viewer may see, without what the viewer may not know; NotFound otherwise."""
        found = rows_of(self.catalog, [id], self._facts.now(), viewer)
        if id not in found:
            raise NotFound(f"there is no image {id}")
        return found[id]

    def facts(self) -> Facts:
        """What is known of all images, after all that has been committed."""
        return self._facts.now()

    def vector(self, id: int, viewer: Viewer = ANYBODY) -> np.ndarray | None:
        """The vector (dim,) of the picture that an image shows; None where the viewer can search with no such image."""
        facts = self._facts.now()
        key = facts.leader_of(id, facts.visible(viewer))
        return self.index.vectors([key])[0] if key is not None and key in self.index else None

    def tags(self, viewer: Viewer = ANYBODY, *, beginning: str = "", limit: int = 50) -> list[tuple[str, int]]:
        """Tags and how many images the viewer sees under each, the most frequent first."""
        facts = self._facts.now()
        visible = facts.visible(viewer)
        counts = [(tag, int(np.count_nonzero(visible[slots]))) for tag, slots in facts.tags.items()
                  if tag.casefold().startswith(beginning.casefold())]  # fmt: skip
        return sorted((each for each in counts if each[1]), key=lambda each: (-each[1], each[0]))[:limit]

    # ---- searching

    def search(self, query: Query, *, k: int = 20, viewer: Viewer = ANYBODY, filters: Filters = NO_FILTERS,
               order: Literal["relevance", "time"] = "relevance", cutoff: float | None = None,
               cursor: str | None = None, search: Mapping[str, Any] | None = None, exact: bool = False,
               explain: bool = False, stages: Sequence[Stage] | None = None) -> Answer:  # fmt: skip
        """One page of results.

        Parameters
        ----------
        query : ById, ByUpload, Crop, Several or ByText
        k : int
            Results a page, 1 to 500.
        viewer : Viewer
            Who asks: public images are found, and one's own.
        filters : Filters
        order : {"relevance", "time"}
            "time": the latest first, of those within the cut.
        cutoff : float, optional
            Only results with at least this score, 0..1; that of the encoder's calibration.
        cursor : str, optional
            Of the page before. Everything else but `k`, `explain` and `stages` must be as it was there.
        search : mapping, optional
            Parameters of the index, such as ``{"n_probes": 8}``.
        exact : bool
            Compare all allowed vectors instead: slower, and what an approximate index is measured against.
        explain : bool
            Whether results tell their way through the stages.
        stages : sequence of Stage, optional
            In place of `stages` of this search, as for an arm of an experiment.

        Raises
        ------
        QueryError
            The query cannot be answered as it stands, with the fix.
        NotFound
            An image that it names is not there for this viewer.
        """
        request = checked(k, viewer, filters, order, cutoff, search, exact)
        clock = Clock()
        with clock("facts"):
            facts, view, stats = self._facts.now(), self._view(), SearchStats()
        source = self._source(query, request, facts, view, stats, clock)
        cut = source.scoring.cutoff if request.cutoff is None else request.cutoff
        digest = cursors.digest_of(source.identity, request.viewer, request.filters, request.by_time, request.exact,
                                   sorted(request.params.items()), cut)  # fmt: skip
        by = self.encoder.fingerprint
        at = Cursor(digest, encoder=by) if cursor is None else cursors.unseal(cursor, digest, by, self._secret)
        about = About(facts, source.allowed, source.named, vectors_of(view), time.time(), explain,
                      self._clicks, tuple(words_of(query.text)) if isinstance(query, ByText) else ())  # fmt: skip
        page = Page(request, source, about, at, source.scoring.reach(cut), clock)
        with clock("rank"):
            chosen, following = page.chosen(lambda ranked: rank(self.stages if stages is None else stages, ranked))
        with clock("rows"):
            images = seen(facts, [one.id for one in chosen], viewer)
            results = [Result(one.id, one.distance, one.score, images[one.id], one.folded,
                              list(one.way) if explain else None) for one in chosen if one.id in images]  # fmt: skip
        if page.limited:
            source.notes.append(f"the nearest {page.looked_at} were looked at; there may be more within the cut")
        plan = plan_of(view, stats, request.exact, words=not source.by_vector)
        return Answer(results, None if following is None else cursors.seal(following, self._secret), page.total,
                      page.weaker, cut, clock.done(), plan, source.notes, stats)  # fmt: skip

    def _source(self, query: Query, request: Request, facts: Facts, view: Index, stats: SearchStats,
                clock: Clock) -> Source:  # fmt: skip
        allowed = facts.allowed(request.viewer, request.filters)
        if isinstance(query, ByText) and not self.can_search_text:
            if not facts.tags:
                raise TextUnavailable("the encoder of this catalog knows no text, and no image has a tag: search by "
                                      "image")  # fmt: skip
            words = words_of(query.text)
            if not words:
                raise QueryError("a text has at least one letter or digit")
            with clock("search"):
                fetch, mask = by_tags(facts, allowed, words)
            note = "the encoder of this catalog knows no text: the words were searched in the tags"
            return Source(fetch, Scoring.of_tags(), (), mask, repr(words).encode(), False, [note])
        with clock("embed"):
            embedded = self._embedding.of(query, facts.visible(request.viewer), facts)
        with clock("filter"):
            chosen = facts.filter(request.viewer, request.filters)
        with clock("search"):
            params = {**parameters_of(view, request.params), "threads": self._threads}
            fetch = (by_scan(view, embedded.vector, facts, chosen) if request.exact
                     else by_index(view, embedded.vector, chosen, params, stats))  # fmt: skip
        notes = [] if embedded.empty is None else [f"nothing is like this picture: {embedded.empty}"]
        by_text = isinstance(query, ByText)
        if isinstance(query, ByText) and not self._means_something(query.text, request.viewer, facts):
            notes = ["the encoder has not learned these words, and no picture has them as a tag"]
        scoring = Scoring.of(self.relevance, embedded.vector, by_text, view.metric, not notes)
        return Source(fetch, scoring, embedded.named, chosen.allowed, embedded.vector.tobytes(), notes=notes)

    def _means_something(self, text: str, viewer: Viewer, facts: Facts) -> bool:
        """Whether a text is made of words that the encoder was taught, or that the viewer sees in tags."""
        wording = None if self.relevance is None else self.relevance.wording
        return wording is None or wording.says_something(text, lambda word: facts.is_said(word, facts.visible(viewer)))


def _with_relevance(place: Path, encoder: Encoder) -> Path | None:
    """The folder of an encoder's copy, if it says something of relevance."""
    copy = copy_of(place, encoder.fingerprint)
    return copy if (copy / relevance.FILE).is_file() else None
