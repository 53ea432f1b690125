"""Batch normalisation over all ranks: of one rank, that of PyTorch."""

import pytest
import torch
from mcanet.scripts.training.batch_norm import synchronise

from .alone import alone

__all__ = ["alone"]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_rank_computes_what_pytorch_does(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = (3 * torch.randn(4, 8, 6, 5) + 2).to(dtype)
    expected, ours = torch.nn.BatchNorm2d(8), synchronise(torch.nn.BatchNorm2d(8))
    with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
        for norm in (expected, ours):
            torch.nn.init.uniform_(norm.weight)
        ours.load_state_dict(expected.state_dict())
        answer, truth = ours(x), expected(x)
    assert answer.dtype == truth.dtype == dtype
    torch.testing.assert_close(answer, truth)
    torch.testing.assert_close(ours.state_dict(), expected.state_dict())
