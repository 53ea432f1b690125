"""Which precision a device computes in by itself."""

import torch


def bfloat16_is_native(device: torch.device) -> bool:
    """Whether the device computes in bfloat16; elsewhere it is emulated and slow."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))
