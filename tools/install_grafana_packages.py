"""Put Grafana's own packages into .tools/grafana: the tests run the dashboards' transformations through one of them.

With `--pictures` also those that draw, into a folder of their own: tools/draw_dashboards.py makes the pictures of the
manual. Versions and checksums stand in tools/grafana/package-lock.json. Running this again does nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
WANTED = REPOSITORY / "tools" / "grafana"
FOLDER = REPOSITORY / ".tools" / "grafana"
PICTURES = REPOSITORY / ".tools" / "grafana-pictures"
FILES = ("package.json", "package-lock.json", "engine.mjs")
INSTALL = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
# One file, which Node.js 18 loads too: some of the packages are modules that it cannot require.
BUNDLE = ["node_modules/.bin/esbuild", "engine.mjs", "--bundle", "--platform=node", "--format=cjs", "--log-level=error"]


def install(*, pictures: bool = False) -> None:
    """Install the packages unless those that are wanted are there."""
    folder = PICTURES if pictures else FOLDER
    wanted = "".join((WANTED / name).read_text(encoding="utf-8") for name in FILES)
    stamp = folder / ".installed"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    if shutil.which("npm") is None:
        sys.exit("npm is missing: install nodejs and npm (tools/install_debian_packages.sh does)")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(WANTED / name, folder / name)
    for command in ([*INSTALL, *([] if pictures else ["--omit=dev"])], [*BUNDLE, "--outfile=engine.cjs"]):
        if subprocess.run(command, cwd=folder, check=False).returncode != 0:
            sys.exit(f"Grafana's packages could not be installed: {' '.join(command)} failed in {folder}")
    if not pictures:
        shutil.rmtree(folder / "node_modules")
    stamp.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    install(pictures="--pictures" in sys.argv[1:])
