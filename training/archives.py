"""Zip files that are sent while they are made, so that neither memory nor the disk holds a large adapter twice."""

import time
import zipfile
from collections.abc import Iterable, Iterator

from training.artifacts import StoredFile


class _Outlet:
    """What ZipFile writes to: keeps the bytes until they are taken."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []

    def write(self, data) -> int:
        self.waiting.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        data, self.waiting = b"".join(self.waiting), []
        return data


def zipped(files: Iterable[StoredFile], folder: str) -> Iterator[bytes]:
    """The files as one uncompressed zip (weights do not get smaller), each under the name `folder/<its name>`."""
    outlet = _Outlet()
    now = time.localtime()[:6]
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for file in files:
            entry = zipfile.ZipInfo(f"{folder}/{file.name}", now)
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as target:
                for data in file.chunks():
                    target.write(data)
                    yield outlet.take()
    yield outlet.take()
