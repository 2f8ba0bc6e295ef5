"""One vector instruction sequence that numba's loops cannot express: a weighted sum that stays in registers.

Written as a loop, ``total[x] += w * line[x]`` goes through memory for every pair of lines, because the compiler must
assume that ``total`` and ``lines`` may overlap. Here the sum is one value of ``RUN`` floats from the first line to the
last. It makes the projector about 1.6 times faster; ``kernels.gather`` has the same sum as a plain loop.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

RUN = 64  # floats in the vector value: 256 bytes, half of the sixteen registers of AVX2
BLOCK = 8  # pairs of lines summed at a time


@intrinsic
def gather_run(typingctx, lines, stride, line, near, far, i, x0, total):
    """Add Σ_j near[j, i]·lines[line[j, i], x0:x0+RUN] + far[j, i]·lines[line[j, i] + stride, x0:x0+RUN] to total[:RUN].

    j runs over ``BLOCK`` entries. lines (n, nx), near and far (BLOCK, tile) and total are contiguous float32, line
    (BLOCK, tile) contiguous uint32, the rest int64. Nothing is checked: the caller keeps indices inside.
    """

    def codegen(context, builder, signature, args):
        def array(position):
            return context.make_array(signature.args[position])(context, builder, args[position])

        lines, line, near, far, total = (array(position) for position in (0, 2, 3, 4, 7))
        _, stride, _, _, _, i, x0, _ = args
        vector = ir.VectorType(ir.FloatType(), RUN)
        undefined = ir.Constant(vector, ir.Undefined)
        everywhere_first = ir.Constant(ir.VectorType(ir.IntType(32), RUN), [0] * RUN)
        row_length = builder.extract_value(lines.shape, 1)
        tile = builder.extract_value(line.shape, 1)

        def vector_at(data, offset):
            return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())

        def add_line(running, index, weight):
            run = builder.load(
                vector_at(lines.data, builder.add(builder.mul(index, row_length), x0)), align=4
            )
            lane = builder.insert_element(undefined, builder.load(weight), ir.Constant(ir.IntType(32), 0))
            weights = builder.shuffle_vector(lane, undefined, everywhere_first)
            return builder.fadd(running, builder.fmul(run, weights, flags=("contract",)), flags=("contract",))

        out = vector_at(total.data, ir.Constant(ir.IntType(64), 0))
        running = builder.load(out, align=4)
        for j in range(BLOCK):
            entry = builder.add(builder.mul(tile, ir.Constant(ir.IntType(64), j)), i)
            index = builder.zext(builder.load(builder.gep(line.data, [entry])), ir.IntType(64))
            running = add_line(running, index, builder.gep(near.data, [entry]))
            running = add_line(running, builder.add(index, stride), builder.gep(far.data, [entry]))
        builder.store(running, out, align=4)
        return context.get_dummy_value()

    return types.void(lines, stride, line, near, far, i, x0, total), codegen
