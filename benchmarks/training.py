"""Training steps a second: ours beside MONAI's networks, the same loss and optimiser, in one process and in turns.

    python benchmarks/training.py [--size 256] [--batch 8] [--rounds 5] [--device cuda]

A step is forward, Dice with cross-entropy, backward, AdamW. bfloat16 rows come where the device has instructions for it. Run
it on a machine that does nothing else.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn as nn
from mcanet.scripts.precision import has_bfloat16
from monai.losses import DiceCELoss
from peers import PEERS, name_of, wait_for
from straight import StraightMCANet

CHANNELS, CLASSES = 3, 3
STRAIGHT = "straight implementation"


def build(name: str, device: torch.device) -> nn.Module:
    """A network to train, channels last, but for the straight implementation, as it was published."""
    torch.manual_seed(0)
    if name == STRAIGHT:
        return StraightMCANet(PEERS["MCANet tiny"](CHANNELS, CLASSES)).train().to(device)
    return PEERS[name](CHANNELS, CLASSES).train().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def stepper(network: nn.Module, batch: torch.Tensor, label: torch.Tensor, lower: bool) -> Callable[[], None]:
    """What makes one training step."""
    loss = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=lower):
            logits = network(batch)
        loss(logits.float(), label).backward()
        optimizer.step()
        wait_for(batch.device)

    return step


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    device, size = arguments.device, (arguments.size, arguments.size)
    batch = torch.randn(arguments.batch, CHANNELS, *size, device=device)
    batch = batch.to(memory_format=torch.channels_last)
    label = torch.randint(0, CLASSES, (arguments.batch, 1, *size), device=device).float()
    steps = {
        f"{name}, {'bfloat16' if lower else 'float32'}": stepper(build(name, device), batch, label, lower)
        for lower in (False, True)
        for name in (STRAIGHT, *PEERS)
        if not lower or has_bfloat16(device)
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(arguments.rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if number > 0:
                times[name].append(time.perf_counter() - start)
    print(
        f"{name_of(device)}, PyTorch {torch.__version__}, batch {arguments.batch} of"
        f" {CHANNELS} x {arguments.size} x {arguments.size}, {arguments.rounds} rounds\n"
    )
    print(
        "| network | times as fast as the first | pictures a second: median (least to most) |\n| --- | --- | --- |"
    )
    first = statistics.median(next(iter(times.values())))
    for name, values in times.items():
        rates = sorted(arguments.batch / value for value in values)
        middle = statistics.median(rates)
        ratio = first / statistics.median(values)
        print(f"| {name} | **{ratio:.2f}** | {middle:.1f} ({rates[0]:.1f} to {rates[-1]:.1f}) |")


if __name__ == "__main__":
    main()
