"""The fused cross-axis attention alone, beside the memory traffic that it cannot do without.

    python benchmarks/attention.py [--batch 8] [--size 256] [--rounds 15]

A pass reads a tensor of the attention's shape and writes one, as ``copy_`` does. PASSES counts those of the fused
block, operation by operation; what it takes beyond them is arithmetic and strided access. Run it on a machine that
does nothing else.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from mcanet.scripts.networks import MCANet, fuse

STRIP = 21  # the longest strip, which the fused convolution of an axis has
PASSES = {
    "channel norm": 1,
    "strip convolutions": 2,
    "projections before": 2,
    "lines of both axes gathered, queries and keys": 4,
    "scores": 2,
    "weights times values": 2,
    "unit queries added": 2,
    "lines put back and added": 2,
    "projection after, shortcut": 2,
}


def milliseconds(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Times of each, in turns, after a round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            if number:
                times[name].append(1000 * (time.perf_counter() - start))
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=256, help="of the picture; the attention sees a quarter")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    attention = fuse(MCANet(3, 3).eval()).decoder.attention.to(memory_format=torch.channels_last)
    channels, side = attention.project_in.in_channels, arguments.size // 4  # type: ignore[union-attr]
    x = torch.randn(arguments.batch, channels, side, side).to(memory_format=torch.channels_last)
    y = torch.empty_like(x)
    products = (3 * channels + 2 * STRIP + 4 * side) * x.numel()  # projections, strips, scores and values
    square = torch.randn(1024, 1024)
    work: dict[str, Callable[[], object]] = {
        "copy": lambda: y.copy_(x),
        "attention": lambda: attention(x),
        "product": lambda: square @ square,
    }
    with torch.inference_mode():
        times = milliseconds(work, arguments.rounds)
    copy, whole, product = (statistics.median(times[name]) for name in work)
    passes = sum(PASSES.values())
    arithmetic = product * products / 1024**3
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}, {tuple(x.shape)}\n\n"
        f"copy {copy:.2f} ms ({min(times['copy']):.2f} to {max(times['copy']):.2f}), "
        f"attention {whole:.2f} ms ({min(times['attention']):.2f} to {max(times['attention']):.2f})\n"
        f"{passes} passes: {', '.join(f'{count} {name}' for name, count in PASSES.items())}\n"
        f"attention over {passes} copies: {whole / (passes * copy):.2f}\n"
        f"{products / 1e9:.2f} GMAC, {arithmetic:.1f} ms at the rate of a plain matrix product; over that and the "
        f"copies together: {whole / (passes * copy + arithmetic):.2f}"
    )


if __name__ == "__main__":
    main()
