"""One cache for all ranks of a machine: each case is read by one of them, and held in memory once."""

import contextlib
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from monai.utils import TraceKeys

from ..lock import FolderLock

_PREFIX = "mcanet_cache_"
_YOUNG_SECONDS = 60.0  # in which a folder may not have been locked yet


def several_ranks() -> bool:
    """Whether this process is one of several that train together."""
    return dist.is_initialized() and dist.get_world_size() > 1


def shared_among_ranks(load: Callable[[int], Any], indices: Sequence[int]) -> list[Any]:
    """What ``load`` gives for each index, each loaded by one of the ranks that see the same temporary folder.

    The ranks map the same files, whose names are gone when this returns; so the memory is the system's to share.

    Raises:
        OSError: the temporary folder (``TMPDIR``) takes no more.
        RuntimeError: another rank could not load or keep an item; its traceback, or what it says of the folder.
    """
    _remove_left()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as own, contextlib.closing(FolderLock(Path(own))):
        folders = _of_all_ranks(own)
        near = [rank for rank, folder in enumerate(folders) if Path(folder).is_dir()]
        files = {index: Path(folders[near[0]]) / f"{index}.pt" for index in indices}
        error: Exception | None = None
        try:
            for index in indices[near.index(dist.get_rank()) :: len(near)]:
                _save(_of_any_process(load(index)), files[index])
        except Exception as found:  # the others must not wait for what will not come
            error = found
        failures = [text for text in _of_all_ranks(error and _in_words(error)) if text]
        if error or failures:
            raise error or RuntimeError(failures[0])
        items = [torch.load(file, mmap=True, weights_only=False) for file in files.values()]
        _of_all_ranks(None)  # no folder goes before all have opened what is in it
    return items


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, OSError) else "".join(traceback.format_exception(error))


def _remove_left() -> None:
    """Remove the folders of trainings that were killed while they cached: nobody holds them."""
    if os.name != "posix":  # where no lock tells
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # held, gone, or another user's
            if time.time() - folder.stat().st_mtime > _YOUNG_SECONDS:
                FolderLock(folder).close()
                shutil.rmtree(folder)


def _of_any_process(item: Any) -> Any:
    """An item whose transforms can be inverted in another process, where they have other ids."""
    for value in item.values() if isinstance(item, Mapping) else ():
        for applied in getattr(value, "applied_operations", ()):
            applied[TraceKeys.ID] = TraceKeys.NONE
    return item


def _save(item: Any, file: Path) -> None:
    try:
        torch.save(item, file)
    except (OSError, RuntimeError) as error:
        raise OSError(
            f"cannot keep the cases in {file.parent} ({error}): let TMPDIR name a folder with room, or lower --cache_rate"
        ) from None


def _of_all_ranks(value: Any) -> list[Any]:
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values
