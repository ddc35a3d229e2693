"""Choose the arithmetic of the networks while training: bfloat16 where the processor has it, else float32."""

from __future__ import annotations

import torch

# As torch names them: AVX-512 and AMX of x86, and Arm's.
_CPU_BFLOAT16 = ("amx_bf16", "avx512_bf16", "arm_bf16", "bf16")


def cpu_bfloat16() -> str:
    """Name the CPU's instructions for products of bfloat16; empty where it has none, so that it would be slower."""
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.11 may not have it
    return next((name for name in _CPU_BFLOAT16 if found.get(name)), "")


def takes_bfloat16(device: torch.device, asked: str) -> bool:
    """Tell whether networks on the device are trained in bfloat16, if that was asked for."""
    return asked == "bfloat16" and (device.type == "cuda" or bool(cpu_bfloat16()))
