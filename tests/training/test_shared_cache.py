"""Ranks on one machine read each case once, and each of them has all."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from mcanet.scripts.lock import FolderLock

from ..end_to_end.run import command, launched

# What each of two ranks has of eight cases, and which of them it read.
RANK = """
import json, sys
import torch
import torch.distributed as dist
from mcanet.scripts.study import RefusedError
from mcanet.scripts.training import open_dataset
from monai.data import DataLoader, MetaTensor
from monai.transforms import Compose, Lambda, RandGaussianNoise

def read(case):
    if case == int(sys.argv[1]):
        raise RefusedError(f"case {case}: it is broken")
    done.append(case)
    return MetaTensor(torch.full((1, 64, 64), float(case)), meta={"filename_or_obj": str(case)})

done = []
dist.init_process_group("gloo")
dataset = open_dataset(list(range(8)), Compose([Lambda(read), RandGaussianNoise(prob=1.0)]), cache_rate=float(sys.argv[2]))
cached = list(done)
items = [item for item in DataLoader(dataset, batch_size=1, num_workers=1)]
result = {
    "read": cached,
    "files": [item.meta["filename_or_obj"][0] for item in items],
    "sums": [float(item.sum()) for item in items],
}
json.dump(result, open(f"rank_{dist.get_rank()}.json", "w"))
dist.barrier()
"""


def two_ranks(folder: Path, broken: int = -1, cache_rate: float = 1.0) -> tuple[list[dict[str, list]], str]:
    (folder / "rank.py").write_text(RANK)
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary:  # a socket's name must be short
        left, live = (Path(temporary) / f"mcanet_cache_{name}" for name in ("left", "live"))
        for cache in (left, live):
            cache.mkdir()
            (cache / "0.pt").touch()
        lock = FolderLock(live)
        for cache in (left, live):
            os.utime(cache, (0, 0))
        run = command("env", f"TMPDIR={temporary}", *launched(2), "rank.py", broken, cache_rate, cwd=folder)
        lock.close()
        assert list(Path(temporary).glob("mcanet*")) == [live]
        assert (live / "0.pt").exists()
    return [json.loads(file.read_text()) for file in sorted(folder.glob("rank_*.json"))], run.stderr


@pytest.mark.parametrize("cache_rate", [1.0, 0.5])
def test_each_case_is_read_by_one_rank_and_drawn_alike_by_both(cache_rate: float, tmp_path: Path) -> None:
    (first, second), _ = two_ranks(tmp_path, cache_rate=cache_rate)
    assert sorted(first["read"] + second["read"]) == list(range(round(8 * cache_rate)))
    assert len(first["read"]) == len(second["read"])
    assert first["files"] == second["files"] == [str(case) for case in range(8)]
    assert first["sums"] == second["sums"]


def test_a_case_that_one_rank_cannot_read_ends_both_with_its_sentence(tmp_path: Path) -> None:
    ranks, words = two_ranks(tmp_path, broken=3)
    assert ranks == []
    assert words.count("cannot use the data set: case 3: it is broken") == 2
