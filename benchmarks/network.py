"""Time of one picture through the network: ours under every engine, the straight implementation, the peers.

    python benchmarks/network.py [--size 256] [--batch 8] [--rounds 7] [--engines eager openvino …] [--device cuda]

All run in one process, in turns, so that a busy machine slows them alike. Prints a Markdown table, ratios first.
bfloat16 rows come where the device has instructions for it. Run it on a machine that does nothing else. A peer takes
sizes from 256 alone, multiples of 128.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn as nn
from mcanet.scripts.inference import open_engine
from mcanet.scripts.networks import MCANet
from mcanet.scripts.precision import has_bfloat16
from peers import PEERS, name_of, wait_for
from straight import StraightMCANet

CHANNELS, CLASSES = 3, 3
REFERENCE = "straight implementation, float32"


def contestants(engines: list[str], device: torch.device) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """(name, what builds it) of each row."""
    torch.manual_seed(0)
    ours = MCANet(CHANNELS, CLASSES).eval().to(device)
    yield REFERENCE, lambda: StraightMCANet(copy.deepcopy(ours)).eval()
    precisions = [False, *([True] if has_bfloat16(device) else [])]
    unet = PEERS["MONAI UNet"](CHANNELS, CLASSES).eval().to(device)
    for lower in precisions:
        kind = "bfloat16" if lower else "float32"
        for engine in engines:
            if lower and engine == "onnxruntime":
                continue
            for name, network in (("MCANet tiny", ours), ("MONAI UNet", unet)):
                build = _engine(network, engine, lower)
                yield f"{name}, {engine}, {kind}", build
        for name in ("DynUNet", "SegResNet", "SwinUNETR"):
            network = PEERS[name](CHANNELS, CLASSES).eval().to(device)
            yield f"{name}, eager, {kind}", _engine(network, "eager", lower)


def _engine(network: nn.Module, engine: str, lower: bool) -> Callable[[], nn.Module]:
    """What opens an engine on a copy of the network."""
    return lambda: open_engine(copy.deepcopy(network), engine, lower)


def measure(networks: dict[str, nn.Module], batch: torch.Tensor, rounds: int) -> dict[str, list[float]]:
    """Milliseconds a picture of each network in each round, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in networks}
    for number in range(rounds + 1):
        for name, network in networks.items():
            start = time.perf_counter()
            network(batch)
            wait_for(batch.device)
            milliseconds = 1000 * (time.perf_counter() - start) / len(batch)
            if number > 0:
                times[name].append(milliseconds)
    return times


def table(times: dict[str, list[float]], parameters: dict[str, int]) -> Iterator[str]:
    """Lines of the Markdown table."""
    base = statistics.median(times[REFERENCE])
    yield "| network | times as fast | ms a picture: median (least to most) | parameters |"
    yield "| --- | --- | --- | --- |"
    for name, values in times.items():
        middle = statistics.median(values)
        spread = f"{middle:.1f} ({min(values):.1f} to {max(values):.1f})"
        yield f"| {name} | **{base / middle:.2f}** | {spread} | {parameters[name] / 1e6:.2f} M |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engines", nargs="+", help="all that the device has, unless told otherwise")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    arguments = parser.parse_args()
    engines = ["eager", "compiled", *(["openvino", "onnxruntime"] if arguments.device.type == "cpu" else [])]
    built, parameters = {}, {}
    for name, build in contestants(arguments.engines or engines, arguments.device):
        built[name] = build()
        family = name.split(",")[0]
        peer = PEERS.get(family, PEERS["MCANet tiny"])(CHANNELS, CLASSES)
        parameters[name] = sum(p.numel() for p in peer.parameters())
    size = (arguments.batch, CHANNELS, arguments.size, arguments.size)
    batch = torch.randn(size, device=arguments.device)
    with torch.inference_mode():
        times = measure(built, batch, arguments.rounds)
    print(
        f"{name_of(arguments.device)}, PyTorch {torch.__version__}, batch {arguments.batch} of "
        f"{CHANNELS} x {arguments.size} x {arguments.size}, {arguments.rounds} rounds\n"
    )
    print("\n".join(table(times, parameters)))


if __name__ == "__main__":
    main()
