"""What a program moves, against sums done by hand."""

import jax
import jax.numpy as jnp
import pytest

from experiments.benchmarks import traffic

# A loop of ten rounds, as a GPU's compiler prints it: a product by a library with 4 KB to work in, a fusion that adds one
# row of a stack of rows to the product, and one that writes the result into the stack in place.
LOOP = """HloModule jit_f, is_scheduled=true, entry_computation_layout={(f32[10,64]{1,0})->f32[10,64]{1,0}}

%fused_add (param_0: f32[10,64], param_1: s32[], param_2: f32[1,64]) -> f32[1,64] {
  %param_0 = f32[10,64]{1,0} parameter(0)
  %param_1 = s32[] parameter(1)
  %constant.1 = s32[] constant(0)
  %dynamic-slice.1 = f32[1,64]{1,0} dynamic-slice(%param_0, %param_1, %constant.1), dynamic_slice_sizes={1,64}
  %param_2 = f32[1,64]{1,0} parameter(2)
  ROOT %add.1 = f32[1,64]{1,0} add(%dynamic-slice.1, %param_2)
}

%fused_write (param_0.1: f32[10,64], param_1.1: s32[], param_2.1: f32[1,64]) -> f32[10,64] {
  %param_0.1 = f32[10,64]{1,0} parameter(0)
  %param_1.1 = s32[] parameter(1)
  %param_2.1 = f32[1,64]{1,0} parameter(2)
  %constant.2 = s32[] constant(0)
  ROOT %dynamic-update-slice.1 = f32[10,64]{1,0} dynamic-update-slice(%param_0.1, %param_2.1, %param_1.1, %constant.2)
}

%body (arg: (s32[], f32[10,64], f32[32,64], f32[1,32])) -> (s32[], f32[10,64], f32[32,64], f32[1,32]) {
  %arg = (s32[], f32[10,64]{1,0}, f32[32,64]{1,0}, f32[1,32]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%arg), index=0
  %rows = f32[10,64]{1,0} get-tuple-element(%arg), index=1
  %w = f32[32,64]{1,0} get-tuple-element(%arg), index=2
  %x = f32[1,32]{1,0} get-tuple-element(%arg), index=3
  %custom-call.1 = (f32[1,64]{1,0}, s8[4096]{0}) custom-call(%x, %w), custom_call_target="__cublas$gemm", \
backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],\
"rhs_contracting_dimensions":["0"]}}}
  %y = f32[1,64]{1,0} get-tuple-element(%custom-call.1), index=0
  %add_fusion = f32[1,64]{1,0} fusion(%rows, %i, %y), kind=kLoop, calls=%fused_add
  %write_fusion = f32[10,64]{1,0} fusion(%rows, %i, %add_fusion), kind=kLoop, calls=%fused_write
  ROOT %tuple.1 = (s32[], f32[10,64]{1,0}, f32[32,64]{1,0}, /*index=3*/f32[1,32]{1,0}) tuple(%i, %write_fusion, %w, %x)
}

%condition (arg.1: (s32[], f32[10,64], f32[32,64], f32[1,32])) -> pred[] {
  %arg.1 = (s32[], f32[10,64]{1,0}, f32[32,64]{1,0}, f32[1,32]{1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%arg.1), index=0
  %constant.3 = s32[] constant(10)
  ROOT %compare.1 = pred[] compare(%i.1, %constant.3), direction=LT
}

ENTRY %main (start: (s32[], f32[10,64], f32[32,64], f32[1,32])) -> f32[10,64] {
  %start = (s32[], f32[10,64]{1,0}, f32[32,64]{1,0}, f32[1,32]{1,0}) parameter(0)
  %while.1 = (s32[], f32[10,64]{1,0}, f32[32,64]{1,0}, f32[1,32]{1,0}) while(%start), condition=%condition, body=%body KNOWN
  ROOT %out = f32[10,64]{1,0} get-tuple-element(%while.1), index=1
}
"""
KNOWN = ', backend_config={"known_trip_count":{"n":"10"}}'


@pytest.mark.parametrize("known", [KNOWN, ""])
def test_a_loop_counts_as_often_as_it_runs_and_slices_as_slices(known):
    found = traffic.of_text(LOOP.replace(" KNOWN", known))
    product = 4 * (32 + 32 * 64 + 64)
    add = 4 * (64 + 1 + 64 + 64)  # a row, the counter, the product; the sum
    write = 4 * (1 + 64 + 64)  # the counter, the sum; the row in place
    compare = 4 + 4 + 1
    assert found.bytes == 10 * (product + add + write + compare)
    assert found.flops == 10 * 2 * 32 * 64


def test_a_compiled_scan_of_products():
    size, rounds = 64, 7

    def run(x, w):
        return jax.lax.scan(lambda x, _: (jnp.tanh(x @ w), x.sum()), x, None, length=rounds)

    x = jnp.ones((size, size))
    found = traffic.of_program(jax.jit(run).lower(x, x).compile())
    assert found.flops == rounds * 2 * size**3
    # A product reads two matrices and writes one; beside it, the tanh and the sum read and write one or two.
    assert 3 * rounds * x.nbytes <= found.bytes <= 9 * rounds * x.nbytes


def test_work_of_a_program_without_loops():
    x = jnp.ones((32, 16))
    found = traffic.of_program(jax.jit(lambda x: -x).lower(x).compile())
    assert found == (2 * x.nbytes, 0)


@pytest.mark.parametrize(
    ("result", "size"),
    [("f32[2,3]{1,0}", 24), ("(bf16[4]{0}, pred[3], s32[])", 15), ("f8e4m3fn[8]", 8), ("token[]", 0)],
)
def test_sizes_of_types(result, size):
    line = f'ENTRY %main (a: f32[]) -> f32[] {{\n  ROOT %b = {result} custom-call(), custom_call_target="f"\n}}\n'
    assert traffic.of_text(line).bytes == size


SLICED = """%gemm (a: f32[9,8,16], b: f32[16,4]) -> (f32[8,4], s8[4096]) {
  %a = f32[9,8,16]{2,1,0} parameter(0)
  %slice.1 = f32[1,8,16]{2,1,0} slice(%a), slice={[2:3], [0:8], [0:16]}
  %bitcast.1 = f32[8,16]{1,0} bitcast(%slice.1)
  %b = f32[16,4]{1,0} parameter(1)
  %call = (f32[8,4]{1,0}, s8[4096]{0}) custom-call(%bitcast.1, %b), custom_call_target="__cublas$lt$matmul", \
backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}}
  %product = f32[8,4]{1,0} get-tuple-element(%call), index=0
  %room = s8[4096]{0} get-tuple-element(%call), index=1
  ROOT %both = (f32[8,4]{1,0}, s8[4096]{0}) tuple(%product, %room)
}

ENTRY %main (x: f32[9,8,16], y: f32[16,4]) -> (f32[8,4], s8[4096]) {
  %x = f32[9,8,16]{2,1,0} parameter(0)
  %y = f32[16,4]{1,0} parameter(1)
  ROOT %fusion.1 = (f32[8,4]{1,0}, s8[4096]{0}) fusion(%x, %y), kind=kCustom, calls=%gemm
}
"""


def test_a_librarys_room_is_not_traffic_inside_a_fusion_either():
    assert traffic.of_text(SLICED) == (4 * (8 * 16 + 16 * 4 + 8 * 4), 2 * 8 * 4 * 16)
