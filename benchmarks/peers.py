"""The networks that the benchmarks compare, each as its users would build it for a 2D task, and what they run on."""

import platform
from collections.abc import Callable

import torch
import torch.nn as nn
from mcanet.scripts.networks import MCANet
from monai.networks.nets import DynUNet, SegResNet, SwinUNETR, UNet


def dynunet(in_channels: int, out_channels: int) -> nn.Module:
    """DynUNet shaped as nnU-Net's 2D plan of a 512 × 512 patch: eight stages, 32 to 512 channels."""
    strides = [1, *[2] * 7]
    filters = [32, 64, 128, 256, 512, 512, 512, 512]
    return DynUNet(2, in_channels, out_channels, [3] * 8, strides, strides[1:], filters=filters)


PEERS: dict[str, Callable[[int, int], nn.Module]] = {
    "MCANet tiny": lambda c_in, c_out: MCANet(c_in, c_out),
    "MONAI UNet": lambda c_in, c_out: UNet(
        2, c_in, c_out, (32, 64, 128, 256, 512), (2, 2, 2, 2), num_res_units=2
    ),
    "DynUNet": dynunet,
    "SegResNet": lambda c_in, c_out: SegResNet(2, 32, c_in, c_out),
    "SwinUNETR": lambda c_in, c_out: SwinUNETR(c_in, c_out, feature_size=24, spatial_dims=2),
}


def name_of(device: torch.device) -> str:
    """The device, for a table's heading."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was asked; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
