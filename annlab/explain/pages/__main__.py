"""Write the explorables: python -m annlab.explain.pages FOLDER."""

import argparse
import sys
from pathlib import Path

from annlab.explain.pages import pages, rendered

parser = argparse.ArgumentParser(prog="python -m annlab.explain.pages", description="Write the explorables.")
parser.add_argument("folder", type=Path, help="where NAME.html goes: docs/explore of annlab's repository")
folder = parser.parse_args().folder
if missing := [name for name in ("explore.js", "explore.css") if not (folder / name).is_file()]:
    parser.error(f"{folder} has no {' and no '.join(missing)}, which the pages share: write into docs/explore")
for page in pages():
    path = folder / f"{page.name}.html"
    path.write_text(rendered(page), "utf-8")
    print(f"{path}  {path.stat().st_size / 1000:.0f} kB")
sys.exit(0)
