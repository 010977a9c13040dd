"""Files written whole or not at all, into folders looked at before the work begins."""

from __future__ import annotations

import tempfile
from pathlib import Path


def make_room(path: Path) -> None:
    """Make the folder of a file to be written, or raise OSError: better now than after the work."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def write_whole(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.partial")
    try:
        unfinished.write_text(text)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
