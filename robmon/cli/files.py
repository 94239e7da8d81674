"""Files that commands read and write, looked at before the work, and what prints."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robmon.extras import Need, check_all_installed
from robmon.processes.whole_file import write_whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

PICTURE = Need("matplotlib", "a picture", "give --no-picture")


def check_packages(models: Iterable[str | None], inputs: Path | None, *, picture: bool) -> None:
    """Tell at once all that a command needs and that is not installed."""
    from robmon.models.uri import is_endpoint, mask

    loaded = [uri for uri in models if uri is not None and not is_endpoint(uri)]
    needs = [Need("mlflow", mask(uri)) for uri in loaded[:1]]
    if inputs is not None and inputs.suffix.lower() in (".csv", ".parquet"):
        needs.append(Need("pandas", str(inputs)))
    if inputs is not None and inputs.suffix.lower() == ".parquet":
        needs.append(Need("pyarrow", str(inputs)))
    if picture:
        needs.append(PICTURE)
    check_all_installed(needs)


def read_rows(options: dict[str, Any], target: tuple[str, ...] = ()) -> tuple[Any, Any]:
    """Inputs and targets of the file that --inputs names."""
    from robmon.inputs.files import read_inputs

    path = options.pop("inputs")
    if path is None:
        raise click.UsageError("give --inputs: a parquet, csv, npy or jsonl file, with a row a line")
    return read_inputs(path, target, tell=lambda sentence: click.echo(sentence, err=True))


def check_writable(file: Path) -> None:
    """Before the work is done, not after."""
    if not os.access(file.parent, os.W_OK | os.X_OK) or (file.exists() and not os.access(file, os.W_OK)):
        raise click.UsageError(f"{file} cannot be written")


def files_to_write(json_file: Path, png: Path, no_picture: bool) -> Path | None:
    """The picture to write beside the JSON file, as `picture_to_draw`."""
    check_writable(json_file)
    return picture_to_draw(png, no_picture)


def picture_to_draw(png: Path, no_picture: bool) -> Path | None:
    """The picture to write, of a kind that can be drawn; None where none is wanted."""
    if no_picture:
        return None
    check_all_installed([PICTURE])
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = FigureCanvasBase.get_supported_filetypes()
    if png.suffix and png.suffix[1:].lower() not in kinds:
        raise click.UsageError(f"{png} is of no known kind of picture: end its name with one of .{', .'.join(kinds)}")
    check_writable(png)
    return png


def print_wide(what: Table | str) -> None:
    """Print without breaking lines."""
    from rich.console import Console

    Console(soft_wrap=True, highlight=False, markup=False).print(what)


def write_whole(file: Path, content: str | bytes, *, is_secret: bool = False) -> None:
    """Write a file that is there whole or as it was before: on a full disk too, or where the command is ended.

    Args:
        file: where; what is no plain file, such as a pipe, is written to as it is.
        content: of it.
        is_secret: whether it is for its owner alone, from the beginning.
    """
    place = file.resolve()  # a link stays one
    written = content.encode() if isinstance(content, str) else content
    if place.exists() and not place.is_file():
        place.write_bytes(written)
        return
    write_whole_file(place, written, 0o600 if is_secret else _usual_mode(place))


def _usual_mode(file: Path) -> int:
    """The mode of the file; for a new file, what the system would give it."""
    if file.exists():
        return stat.S_IMODE(file.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def picture_bytes(figure: Figure, file: Path) -> bytes:
    """A picture of the kind that the file's name says; without an ending it is a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=150, format=file.suffix[1:] or "png")
    return buffer.getvalue()


def write_results(
    json_file: Path, content: dict[str, Any], picture: Path | None = None, draw: Callable[[], Figure] | None = None
) -> None:
    """Write the JSON file and, beside it, the picture, if there is to be one."""
    write_whole(json_file, json.dumps(content, indent=1, allow_nan=False) + "\n")
    if picture is not None and draw is not None:
        write_whole(picture, picture_bytes(draw(), picture))
    print_wide(f"written: {json_file}" + (f", {picture}" if picture is not None else ""))
