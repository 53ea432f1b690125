"""Which precision a device computes in by itself."""

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16; elsewhere it is emulated and slow."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def bfloat16_is_faster(device: torch.device) -> bool:
    """Whether bfloat16 pays.

    Intel's processors gain by AMX, which hypervisors may hide: their vector instructions alone take twice the time of
    float32's. AMD's gain by vectors.
    """
    if device.type != "cpu":
        return has_bfloat16(device)
    cpu = torch.cpu.get_capabilities()
    return has_bfloat16(device) and (bool(cpu.get("amx_bf16")) or "Intel" not in str(cpu.get("cpu_name", "")))
