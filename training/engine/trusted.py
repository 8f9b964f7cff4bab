"""Folders of base models whose own Python code this process may run. Empty unless an administrator allowed one."""

from pathlib import Path

_folders: set[Path] = set()


def trust(folder: Path) -> None:
    """Called only for a base model at a revision whose code an administrator allowed."""
    _folders.add(Path(folder).resolve())


def is_trusted(folder: Path) -> bool:
    return Path(folder).resolve() in _folders
