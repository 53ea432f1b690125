"""Which device a process computes on."""

import os

import torch


def local_device() -> torch.device:
    """This process's GPU, each of those on the machine in its turn where a launcher numbers the processes there."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number = os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID")
    if number is None:
        return torch.device("cuda")
    device = torch.device("cuda", int(number) % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device
