"""The LayerNorm kernel must give what torch's gives, for every number of rows and size of row, and be compilable."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from router.encoding.gpu_norm import HELD, fused_layer_norm, layer_norm, torch_layer_norm

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton is not installed (it comes with torch for CUDA)"
)
INTERPRETED = """
import torch
from router.encoding.gpu_norm import HELD, fused_layer_norm, torch_layer_norm
torch.manual_seed(0)
for rows, size in ((1, 384), (5, 384), (9, 32), (3, 7), (2, HELD)):
    hidden, weight, bias = 3 * torch.randn(rows, size) + 100, torch.randn(size), torch.randn(size)
    for dtype, near in ((torch.float32, 1e-4), (torch.bfloat16, 0.05)):
        given = hidden.to(dtype), weight.to(dtype), bias.to(dtype)
        found, wanted = fused_layer_norm(*given, 1e-12), torch_layer_norm(*given, 1e-12)
        assert found.dtype == dtype and torch.allclose(found, wanted, atol=near), (rows, size, dtype)
spread = torch.randn(6, 20)[:, ::2]
ones = torch.ones(10)
assert torch.allclose(fused_layer_norm(spread, ones, ones, 1.0), torch_layer_norm(spread, ones, ones, 1.0), atol=1e-5)
assert fused_layer_norm(hidden[:0], weight, bias, 1.0).shape == (0, HELD)
"""
COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from router.encoding.gpu_norm import _kernel
tensors = dict.fromkeys(("hidden", "weight", "bias", "result"), "*bf16")
sizes = {"SIZE": 384, "PADDED": 512, "ROWS": 4}
signature = {**tensors, "rows": "i32", "eps": "fp32", **dict.fromkeys(sizes, "constexpr")}
source = ASTSource(fn=_kernel, signature=signature, constexprs=sizes)
compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 1})
assert compiled.asm["cubin"] and "bar.sync" not in compiled.asm["ptx"]  # no warp waits for another
"""


def run(program, **variables):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | variables)


@needs_triton
def test_the_kernel_as_triton_interprets_it_gives_what_torch_gives():
    done = run(INTERPRETED, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stderr


@needs_triton
def test_the_kernel_compiles_for_a_gpu_that_is_not_here(tmp_path):
    done = run(COMPILED, TRITON_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_a_processor_is_left_to_torch():
    hidden, weight, bias = torch.randn(3, 8), torch.randn(8), torch.randn(8)
    assert torch.equal(layer_norm(hidden, weight, bias, 1e-5), torch_layer_norm(hidden, weight, bias, 1e-5))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("size", [32, 384, HELD])
def test_the_kernel_on_a_gpu_gives_what_torch_gives(size):
    hidden, weight, bias = (torch.randn(shape, device="cuda").bfloat16() for shape in ((1001, size), size, size))
    found = fused_layer_norm(hidden, weight, bias, 1e-12)
    assert torch.allclose(found, torch_layer_norm(hidden, weight, bias, 1e-12), atol=0.05)
