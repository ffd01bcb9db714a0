"""The visual search system: images in, ranked similar images out.

    schema.py        the tables of the catalog, their columns and rules
    catalog.py       Catalog: opening one, and its images: what was discovered and what became of it
    discovery.py     what has changed in a folder since
    watching.py      a folder that is looked at again and again
    indexing.py      from pending rows to vectors: the pipeline, in step and safe from kills
    reading.py       from files to pixels and vectors, with the reason where that fails
    attributes.py    what the index knows of an image beside its vector
    encoder_rows.py  which encoders there are, which is searched, and in which index its vectors are
    pair.py          an encoder and its index, opened and kept together
    promotion.py     another encoder takes the place of the current one, or gives it back
    offline.py       which of two encoders would have served better what people judged and clicked
    pictures.py, sketches.py, duplicates.py   whether two files show the same picture
    decisions.py     what somebody decided of two images: duplicates, or not
    withdrawing.py   pictures that somebody in charge takes out of the results
    commands.py, catalog_commands.py what the command line does with all this
    search.py        from a query to a page of ranked results; with these parts:
      queries.py, viewers.py             what can be asked, and by whom
      facts.py, changes.py               what is kept in memory of every image, and how it stays right
      candidates.py, shown.py            the nearest pictures; their rows, as a viewer sees them
      relevance.py, calibrating.py, scoring.py how likely they are relevant, and the cut
      emptiness.py, sense.py, nonsense.py, wording.py   what shows or means nothing
      paging.py, cursors.py              where a page begins
      reranking.py, ranked.py, stages.py, ranking.toml, click_rates.py   what is shown of them, and in which order
    interactions.py  who was shown what, and what was clicked
    judging.py       graded judgements, and qrels
    people.py        users: one person's own data, and forgetting a person everywhere
    exchange.py      CSV and Parquet, in and out, for all tables
    upsert.py        rows that take the place of others
    paths.py         names of files as text
    migrations.py    a catalog that an earlier version wrote
    service/         all of it over HTTP; page/ is the page

Needs `pip install "annlab[visual]"`.
"""

try:
    import sqlalchemy as _sqlalchemy  # noqa: F401
except ImportError as error:
    raise ImportError('annlab.visual needs SQLAlchemy: pip install "annlab[visual]"') from error
