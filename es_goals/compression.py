"""Answers in fewer bytes: content codings of RFC 9110, section 8.4.1, and Zstandard's of RFC 8878."""

import gzip
import sys
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Literal, Protocol

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Coding = Literal["zstd", "br", "gzip"]
CODINGS: tuple[Coding, ...] = ("zstd", "br", "gzip")
"""Those that are made, the one first that takes the least time for as few bytes."""

LEAST_BYTES = 1024
"""Below it a head and a tag of its own are not worth it."""
LARGE_BYTES = 131_072
"""From here on time matters more than a tenth of the bytes."""
WINDOW_LOG = 15
"""Of a stream: a client need keep no more than 32 KiB of what it has read, and so need we."""


class Packer(Protocol):
    """What makes one coded stream of many parts."""

    def flushed(self, part: bytes) -> bytes:
        """The part in such bytes that the client can read all of it at once."""

    def end(self) -> bytes:
        """The last bytes."""


class _Zstd:
    def __init__(self) -> None:
        self._made = zstd.ZstdCompressor(options={int(zstd.CompressionParameter.window_log): WINDOW_LOG})

    def flushed(self, part: bytes) -> bytes:
        return self._made.compress(part, zstd.ZstdCompressor.FLUSH_BLOCK)

    def end(self) -> bytes:
        return self._made.flush()


class _Brotli:
    def __init__(self) -> None:
        self._made = brotli.Compressor(quality=3, lgwin=WINDOW_LOG)

    def flushed(self, part: bytes) -> bytes:
        made: bytes = self._made.process(part) + self._made.flush()
        return made

    def end(self) -> bytes:
        made: bytes = self._made.finish()
        return made


class _Gzip:
    def __init__(self) -> None:
        self._made = zlib.compressobj(6, wbits=16 + WINDOW_LOG)

    def flushed(self, part: bytes) -> bytes:
        return self._made.compress(part) + self._made.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._made.flush()


_PACKERS: dict[Coding, Callable[[], Packer]] = {"zstd": _Zstd, "br": _Brotli, "gzip": _Gzip}


def packer(coding: Coding) -> Packer:
    """Begin a stream."""
    return _PACKERS[coding]()


_ONCE: Mapping[Coding, int] = {"zstd": 12, "br": 9, "gzip": 9}
_OFTEN: Mapping[Coding, int] = {"zstd": 1, "br": 3, "gzip": 6}
_LARGE: Mapping[Coding, int] = {"zstd": 1, "br": 1, "gzip": 1}
"""Levels: more takes more time."""


def packed(data: bytes, coding: Coding) -> bytes:
    """Return all of the data, coded in little time."""
    return _packed(data, coding, (_LARGE if len(data) >= LARGE_BYTES else _OFTEN)[coding])


@lru_cache(maxsize=256)
def packed_once(data: bytes, coding: Coding) -> bytes:
    """Return all of what is little, the same for everybody and kept, coded in few bytes."""
    return _packed(data, coding, _ONCE[coding])


def _packed(data: bytes, coding: Coding, level: int) -> bytes:
    match coding:
        case "zstd":
            return zstd.compress(data, level=level)
        case "br":
            made: bytes = brotli.compress(data, quality=level)
            return made
        case "gzip":
            return gzip.compress(data, level, mtime=0)


def coded_tag(etag: str, coding: Coding) -> str:
    """Return the tag of what has the tag `etag` when it is not coded."""
    return f'{etag[:-1]}-{coding}"'
