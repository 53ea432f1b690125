"""Compressed frames and pictures, decoded in a worker process."""

import atexit
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from .case import RefusedError
from .codestream import check_codestream
from .encapsulated import find_frames
from .limits import Limits
from .opening import open_dataset
from .source import Source

SLACK = 2**16
"""Bytes that a compressed frame may need beside its picture: tables, comments, metadata."""
_PATIENCE = 10  # times decode_seconds, for a machine that is busy
_BLOCK = 2**20  # values that are widened at a time


class Worker:
    """A process that decodes, started when first needed and again after it died.

    One is kept for each process of ours; a fork starts its own.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.owner = 0

    def ask(
        self,
        request: dict[str, Any],
        data: bytes,
        name: str,
        limits: Limits,
        expected: int,
        *,
        widen: bool = False,
    ) -> tuple[np.ndarray, str]:
        """Sends one request.

        Args:
            request: what to decode.
            data: the compressed bytes.
            name: the file, for messages.
            limits: time and memory.
            expected: bytes that the reply may have at most.
            widen: whether uint8 is wanted as int16.

        Returns:
            The array and its colour model.

        Raises:
            RefusedError: the data cannot be decoded, or the process crashed or took too long.
        """
        request = {**request, "bytes": len(data), "memory": limits.decode_bytes}
        with self.lock:
            process = self._running()
            done, expired = threading.Event(), threading.Event()
            watch = threading.Thread(target=_watch, args=(process, limits.decode_seconds, done, expired))
            watch.start()
            try:
                return self._exchange(process, request, data, expected, widen)
            except (OSError, EOFError, ValueError):
                self.close()
                how = "crashed on it; the file is damaged, fetch it again"
                if expired.is_set():
                    how = (
                        f"took longer than decode_seconds = {limits.decode_seconds:g}; fetch the file again, or "
                        "raise the limit if it is trusted"
                    )
                raise RefusedError(f"{name}: the decoder {how}") from None
            except _UndecodedError as error:
                raise RefusedError(
                    f"{name}: its image data cannot be decoded ({error}); fetch the file again"
                ) from None
            except BaseException:
                self.close()
                raise
            finally:
                done.set()
                watch.join()

    def _exchange(
        self,
        process: "subprocess.Popen[bytes]",
        request: dict[str, Any],
        data: bytes,
        expected: int,
        widen: bool,
    ) -> tuple[np.ndarray, str]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.write(data)
        process.stdin.flush()
        line = process.stdout.readline(4096)
        if not line:
            raise EOFError
        reply = json.loads(line)
        if "error" in reply:
            raise _UndecodedError(reply["error"])
        if reply["bytes"] > expected:
            self.close()
            raise _UndecodedError(f"{reply['bytes']} bytes, expected {expected}")
        widen = widen and reply["dtype"] == "|u1"
        held = np.empty((1 + widen, *reply["shape"]), np.dtype(reply["dtype"]))
        into = held[-1].reshape(-1).view(np.uint8)
        if process.stdout.readinto(into) < into.size:  # type: ignore[attr-defined]
            raise EOFError
        return _widened(held) if widen else held[0], reply["colour"]

    def _running(self) -> "subprocess.Popen[bytes]":
        if self.process is None or self.owner != os.getpid() or self.process.poll() is not None:
            script = Path(__file__).with_name("decode_worker.py")
            self.process = subprocess.Popen(
                [sys.executable, str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self.owner = os.getpid()
        return self.process

    def close(self) -> None:
        """Ends the process; the next request starts another."""
        if self.process is not None and self.owner == os.getpid():
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                try:
                    if pipe is not None:
                        pipe.close()
                except OSError:
                    continue
        self.process = None


def _widened(held: np.ndarray) -> np.ndarray:
    """The uint8 of the second half of a memory (2, …) as int16 in the whole of it: no room for both is needed."""
    narrow, wide = held[1].reshape(-1), held.reshape(-1).view(np.int16)
    for start in range(0, narrow.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        wide[block] = narrow[block].copy()
    return wide.reshape(held.shape[1:])


def _watch(
    process: "subprocess.Popen[bytes]", seconds: float, done: threading.Event, expired: threading.Event
) -> None:
    """Kills a process that computes for so long, or is waited for ten times as long: a busy machine is no fault."""
    try:
        times = psutil.Process(process.pid).cpu_times
        start = sum(times()[:2])
        for _ in range(_PATIENCE):
            if done.wait(seconds):
                return
            if sum(times()[:2]) - start >= seconds / 2:
                break
    except psutil.NoSuchProcess:  # it crashed, which shows by itself
        return
    expired.set()
    process.kill()


class _UndecodedError(Exception):
    """The worker says that the data cannot be decoded."""


WORKER = Worker()
atexit.register(WORKER.close)


class PackedFrames:
    """The frames of one compressed file, each decoded when asked for.

    Args:
        source: the file's header.
        limits: caps.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        assert source.pixels is not None
        self.source, self.pixels, self.limits = source, source.pixels, limits
        self.colour = source.pixels.photometric
        self.stream, _, _ = open_dataset(source.file, source.name, limits)
        try:
            self.frames = find_frames(self.stream, source.pixels, source.name)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        self.stream.close()

    def read(self, index: int) -> np.ndarray:
        """Frame ``index`` decoded, shape (rows, columns) or (rows, columns, samples)."""
        pixels, name = self.pixels, self.source.name
        expected = pixels.rows * pixels.columns * pixels.samples * pixels.allocated // 8
        held = sum(length for _, length in self.frames[index])
        if held > 2 * expected + SLACK:
            raise RefusedError(
                f"{name}: a compressed frame has {held} bytes, more than twice the {expected} that it unfolds to; "
                "fetch the file again"
            )
        parts = []
        for start, length in self.frames[index]:
            self.stream.seek(start)
            parts.append(self.stream.read(length))
        data = check_codestream(b"".join(parts), pixels, name)
        array, self.colour = WORKER.ask(self._request(), data, name, self.limits, expected)
        if array.size != pixels.rows * pixels.columns * pixels.samples:
            raise RefusedError(
                f"{name}: PixelData decodes to {array.size} values, expected "
                f"{pixels.rows} x {pixels.columns} x {pixels.samples}; fetch the file again"
            )
        wide = np.dtype(f"{'i' if pixels.signed else 'u'}{max(pixels.allocated // 8, 1)}")
        array = array.reshape(pixels.rows, pixels.columns, -1).astype(wide, copy=False)
        return array[..., 0] if pixels.samples == 1 else array

    def _request(self) -> dict[str, Any]:
        pixels = self.pixels
        attributes = {
            "Rows": pixels.rows,
            "Columns": pixels.columns,
            "SamplesPerPixel": pixels.samples,
            "BitsAllocated": pixels.allocated,
            "BitsStored": pixels.stored,
            "HighBit": pixels.high_bit,
            "PixelRepresentation": int(pixels.signed),
            "PhotometricInterpretation": pixels.photometric or "MONOCHROME2",
            "NumberOfFrames": 1,
        }
        if pixels.samples > 1:  # of compressed frames it says nothing (PS3.5, 8.2)
            attributes["PlanarConfiguration"] = 0
        return {"syntax": pixels.syntax, "attributes": attributes}
