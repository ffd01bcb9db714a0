"""How the site is made: `python3 run.py docs`, or

    python -m sphinx -c docs -W --keep-going . out/site

The source is the root of the repository, so that pages which lie beside docs/ (CONTRIBUTING.md, CHANGELOG.md,
benchmarks/README.md, notebooks/) are taken in where they are, and their links hold on the site as in the repository.
"""

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref, pending_xref_condition
from sphinx.application import Sphinx

DOCS = Path(__file__).parent
# Explorables with their script and style, and reports.
READY_MADE = [path.relative_to(DOCS.parent) for path in (*DOCS.rglob("*.html"), *DOCS.glob("explore/explore.*"))]
sys.path.insert(0, str(DOCS.parent))

import annlab  # noqa: E402

project = "annlab"
author = "annlab"
copyright = "annlab; MIT licence"
version = release = annlab.__version__

root_doc = "docs/index"
include_patterns = [
    "docs/**", "notebooks/*.ipynb", "notebooks/README.md", "benchmarks/README.md", "CONTRIBUTING.md", "CHANGELOG.md",
]  # fmt: skip
exclude_patterns = [
    ".*", "annlab", "tests", "out", "build", "dist", "**/__pycache__", "benchmarks/results",
    "docs/explore", "docs/static", "docs/tables", "jupyter_execute", "**/.ipynb_checkpoints",
]  # fmt: skip
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_nb"]

# ---- pages: Markdown and notebooks; what notebooks show was computed when their own test executed them
nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # what notebooks show has tables
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["toc.not_included"]  # tests/docs/test_site.py asks that every page can be reached

# ---- the reference: public names, with what their docstrings say of shapes
default_role = "py:obj"  # `name` is a link where there is one of that name, and code everywhere else
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say it, with shapes
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_use_ivar = True
maximum_signature_line_length = 90
python_use_unqualified_type_names = True
# Extras that are not worth installing for their names alone.
autodoc_mock_imports = [name for name in ("torch", "langchain_core") if importlib.util.find_spec(name) is None]
modindex_common_prefix = ["annlab."]

# ---- how it looks
html_theme = "furo"
html_title = "annlab"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "static/annlab.svg"
html_logo = "static/annlab.svg"
html_show_sphinx = False
html_copy_source = False
templates_path = []
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0f6b5c", "color-brand-content": "#0f6b5c"},
    "dark_css_variables": {"color-brand-primary": "#58c4ad", "color-brand-content": "#58c4ad"},
    "navigation_with_keys": True,
}
pygments_style = "friendly"
pygments_dark_style = "nord-darker"

FRONT = """<!doctype html><meta charset="utf-8"><title>annlab</title>
<meta http-equiv="refresh" content="0; url=docs/index.html"><a href="docs/index.html">annlab</a>
"""


def finish(app: Sphinx, error: Exception | None) -> None:
    """Put pages that are HTML already where they lie, and lead from the root of the site to its first page."""
    if error is None and app.builder.format == "html":
        (Path(app.outdir) / "index.html").write_text(FRONT)
        for page in READY_MADE:
            (Path(app.outdir) / page).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(DOCS.parent / page, Path(app.outdir) / page)
        for copy in Path(app.outdir).glob("_downloads/*/*.html"):  # of the same pages, which nothing leads to
            copy.unlink()


def open_ready_made(app: Sphinx, doctree: nodes.document) -> None:
    """A link to a page that is HTML already opens it; Sphinx would offer it as a download."""
    for node in list(doctree.findall(download_reference)):
        _, path = app.env.relfn2path(node["reftarget"], app.env.current_document.docname)
        place = Path(path).resolve()
        if place.suffix == ".html":
            here = (DOCS.parent / app.env.current_document.docname).parent
            address = os.path.relpath(place, here).replace(os.sep, "/")
            node.replace_self(nodes.reference("", "", *node.children, refuri=address))


def list_the_unlisted(app: Sphinx, docname: str, source: list[str]) -> None:
    """Pages of docs/ that no table of contents names come last in the contents of the site."""
    if docname == root_doc:
        named = "\n".join(path.read_text() for path in DOCS.rglob("*.md"))
        tables = "\n".join(re.findall(r"```{toctree}(.*?)```", named, re.DOTALL))
        listed = {Path(line).name for line in tables.split()} | {"index"}
        if more := sorted({path.stem for path in DOCS.glob("*.md")} - listed):
            source[0] += "\n".join(["\n```{toctree}", ":hidden:", ":caption: More", "", *more, "```\n"])


def only_our_names(app: Sphinx, doctree: nodes.document) -> None:
    """Of what stands in backticks or as a type, link what is a public name of annlab; all else stays as it is written.

    Sphinx would look for an attribute of that name anywhere: "dim" in "shape (n, dim)" is none.
    """
    for node in list(doctree.findall(pending_xref)):
        target = node.get("reftarget", "")
        if node.get("refdomain") != "py" or target.startswith("annlab."):
            continue
        if target in annlab.__all__ and "faiss" not in (node.get("py:module") or ""):
            node["reftarget"] = f"annlab.{target}"
        elif target[:1].islower() and "." not in target:
            shown = [each for each in node.children if not isinstance(each, pending_xref_condition)]
            node.replace_self(shown or node.children[-1].children)  # of alternatives: the last is the plain one


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("source-read", list_the_unlisted)
    app.connect("doctree-read", open_ready_made)
    app.connect("doctree-read", only_our_names)
    app.connect("build-finished", finish)
