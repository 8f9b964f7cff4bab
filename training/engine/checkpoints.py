"""Checkpoints on disk. Knows nothing of Django, and does not import torch."""

import json
from collections.abc import Sequence
from pathlib import Path

COMPLETE = "complete.json"  # written last: a checkpoint without it is half-written


def last_checkpoint(folders: Sequence[Path]) -> tuple[Path, int] | None:
    """The most advanced checkpoint that was written to its end, and its step."""
    found = []
    for folder in folders:
        for mark in folder.glob(f"checkpoint-*/{COMPLETE}"):
            try:
                found.append((json.loads(mark.read_text())["step"], mark.parent))
            except (ValueError, KeyError, OSError):
                continue
    if not found:
        return None
    step, path = max(found)
    return path, step
