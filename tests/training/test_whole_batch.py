"""What several ranks draw and lose together: of one rank, what it would alone."""

import torch
from mcanet.scripts.networks import MCANet
from mcanet.scripts.training.whole_batch import SharedDropout2d, SharedDropPath, WholeBatchLoss, share_draws
from monai.losses import DiceCELoss
from monai.networks.layers import DropPath

from .alone import alone

__all__ = ["alone"]


def test_one_rank_draws_what_pytorch_and_monai_do(alone: None) -> None:
    x = torch.randn(8, 6, 5, 4)
    for plain, shared in ((DropPath(0.4), SharedDropPath), (torch.nn.Dropout2d(0.4), SharedDropout2d)):
        torch.manual_seed(1)
        expected = plain(x)
        assert (expected == 0).any()
        share_draws(plain, patches=2)
        assert type(plain) is shared
        torch.manual_seed(1)
        torch.testing.assert_close(plain(x), expected)
        plain.eval()
        assert plain(x) is x


def test_every_draw_of_the_network_is_shared() -> None:
    network = share_draws(MCANet(3, 2, dropout=0.1), patches=4)
    plain = [module for module in network.modules() if type(module) in (DropPath, torch.nn.Dropout2d)]
    assert not plain
    assert any(isinstance(module, SharedDropPath) for module in network.modules())


def test_one_rank_loses_what_the_loss_says(alone: None) -> None:
    loss = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    logits, labels = torch.randn(4, 3, 8, 8, requires_grad=True), torch.randint(0, 3, (4, 1, 8, 8)).short()
    expected = loss(logits, labels)
    (gradient,) = torch.autograd.grad(expected, logits)
    found = WholeBatchLoss(loss)(logits, labels)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, logits)[0], gradient)
