"""Checkpoints on disk: marked when they are whole, checked before they are used. Does not import torch."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

COMPLETE = "complete.json"  # written last: a checkpoint without it is half-written
TOLD = "told.jsonl"  # the points and samples up to here, should the supervisor have died before it stored them


def mark_complete(checkpoint: Path, step: int, **about: Any) -> None:
    """Say that every file of the checkpoint is on the disk, and what each holds; `about` is kept with that."""
    if (checkpoint.parent / TOLD).exists():
        shutil.copyfile(checkpoint.parent / TOLD, checkpoint / TOLD)
    files = {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file() and path.name != COMPLETE:
            files[str(path.relative_to(checkpoint))] = _digest(path)
            _sync(path)
    for folder in {checkpoint, *(path.parent for path in checkpoint.rglob("*"))}:
        _sync(folder)
    half = checkpoint / f".{COMPLETE}"
    half.write_text(json.dumps({**about, "step": step, "files": files}))
    _sync(half)
    half.rename(checkpoint / COMPLETE)
    _sync(checkpoint)


def last_checkpoint(folders: Sequence[Path]) -> tuple[Path, int] | None:
    """The most advanced checkpoint that is whole, and its step: one with a damaged file gives way to the one before."""
    for step, checkpoint in _marked(folders):
        if _is_whole(checkpoint):
            return checkpoint, step
    return None


def remove_others(folders: Sequence[Path], keep: Path | None) -> None:
    """Remove the checkpoints of ended attempts but for the one to go on from and, should it get damaged, the next."""
    marked = [checkpoint for _, checkpoint in _marked(folders)]
    place = marked.index(keep) if keep in marked else len(marked)
    kept = marked[place : place + 2]
    for folder in folders:
        for checkpoint in folder.glob("checkpoint-*"):
            if checkpoint not in kept:
                shutil.rmtree(checkpoint, ignore_errors=True)


def _marked(folders: Iterable[Path]) -> list[tuple[int, Path]]:
    """(step, checkpoint) of those that were written to their end, the most advanced first."""
    found = []
    for folder in folders:
        for mark in folder.glob(f"checkpoint-*/{COMPLETE}"):
            try:
                found.append((int(json.loads(mark.read_text())["step"]), mark.parent))
            except (ValueError, KeyError, TypeError, OSError):
                continue
    return sorted(found, reverse=True)


def _is_whole(checkpoint: Path) -> bool:
    try:
        files = json.loads((checkpoint / COMPLETE).read_text()).get("files", {})  # earlier releases marked without
        return all(_digest(checkpoint / name) == digest for name, digest in files.items())
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Wait until the file, or the folder's list of files, is on the disk and not only on its way there."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
