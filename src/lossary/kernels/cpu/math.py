"""Elementary functions of one number, in float32 and float64, that LLVM vectorises in a loop.

A call to the C library stops a loop from being vectorised; these are polynomials, selects and shifts without a branch.
Each has a stated bound on its error in units in the last place (`ULPS`), over its whole range, held in the tests.
Infinities, NaN, signed zeros and results below the smallest normal number come out as in the C library. Where a kernel
knows more of an argument (`kernels.ir.ranges`), it calls a function of part of the numbers, of fewer operations.

The functions come in two sets of names, ``exp_f32`` and ``exp_f64``; a generated kernel imports those of its
type under their plain names. They are meant to be called from compiled code only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import float32, float64, int32, int64, njit, types
from numba.extending import intrinsic as _intrinsic

from lossary.kernels import gamma
from lossary.kernels.cpu.runtime.compile import Part
from lossary.kernels.cpu.sizes import LANES, PIECE

# Contraction (a * b + c in one rounding) never hurts a polynomial. No other fast-math flag is set: `nnan` and `ninf`
# would lose NaN and infinity, `reassoc` the argument reductions below.
_compiled: Callable[[Any], Any] = njit(fastmath={"contract"}, error_model="numpy", forceinline=True, nogil=True)


intrinsic: Callable[[Any], Any] = _intrinsic
pointer_to: Callable[[Any], Any] = types.CPointer


class Unaliased(Part):
    """Compiles a function whose pointers never overlap: LLVM then vectorises without comparing them at run time."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.state.flags.noalias = True


# Where a rounding error is computed, a product must be rounded as written.
_as_written: Callable[[Any], Any] = njit(error_model="numpy", forceinline=True, nogil=True)

# The largest error, in units in the last place of the result; float64 and float32. `lgamma` and `digamma`: away from
# their zeros.
ULPS = {
    "exp": (1.0, 1.0),
    "exp_nonpositive": (1.0, 1.0),
    "expm1": (2.5, 2.5),
    "expm1_nonpositive": (1.5, 1.5),
    "log": (1.0, 1.0),
    "log1p": (1.5, 1.5),
    "log1p_fraction": (1.5, 1.5),
    "tanh": (3.0, 3.0),
    "raised": (3.0, 1.0),
    "lgamma": (4.0, 1.0),
    "digamma": (8.0, 1.0),
    "trigamma": (4.0, 1.0),
}


# --- what Python cannot say -----------------------------------------------------------------------------------------


@intrinsic
def select(_typing: Any, condition: Any, yes: Any, no: Any) -> Any:
    """``yes if condition else no`` for numbers of one type, as a select instruction: never a branch."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return yes(types.boolean, yes, yes), generate


def _same_bits(source: Any, target: Any, llvm: Any) -> Any:
    @intrinsic
    def reinterpret(_typing: Any, x: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], llvm)

        return target(source), generate

    return reinterpret


bits_f32 = _same_bits(float32, int32, ir.IntType(32))
from_bits_f32 = _same_bits(int32, float32, ir.FloatType())
bits_f64 = _same_bits(float64, int64, ir.IntType(64))
from_bits_f64 = _same_bits(int64, float64, ir.DoubleType())


# Half precision is held as integers, bfloat16 as uint16 and float16 as int16, and computed with as float32. The way
# there and back is made of shifts and sums, but for float16 where the processor has instructions for it; where it has
# none, LLVM would call a function that only a compiler brings along.
HAS_FLOAT16 = bool(
    binding.get_host_cpu_features().get("f16c") or binding.get_process_triple().startswith(("aarch64", "arm64"))
)


def _computed(kind: Any) -> Any:
    """The type in which a stored number is computed with."""
    return float32 if kind in (types.uint16, types.int16) else kind


def _widen(builder: Any, x: Any, kind: Any) -> Any:
    word, number = ir.IntType(32), ir.FloatType()
    if kind == types.uint16:
        return builder.bitcast(builder.shl(builder.zext(x, word), word(16)), number)
    if kind == types.int16 and HAS_FLOAT16:
        return builder.fpext(builder.bitcast(x, ir.HalfType()), number)
    if kind == types.int16:
        bits = builder.zext(x, word)
        size = builder.shl(builder.and_(bits, word(0x7FFF)), word(13))
        normal = builder.add(size, word((127 - 15) << 23))
        # Without an exponent of its own a number is what it adds to the smallest that has one.
        least = word((127 - 14) << 23)
        small = builder.fsub(builder.bitcast(builder.add(size, least), number), builder.bitcast(least, number))
        endless = builder.add(size, word((255 - 31) << 23))
        chosen = builder.select(builder.icmp_unsigned(">=", size, word(31 << 23)), endless, normal)
        is_small = builder.icmp_unsigned("<", size, word(1 << 23))
        chosen = builder.select(is_small, builder.bitcast(small, word), chosen)
        return builder.bitcast(builder.or_(chosen, builder.shl(builder.and_(bits, word(0x8000)), word(16))), number)
    return x


def _narrow(builder: Any, x: Any, kind: Any) -> Any:
    if kind not in (types.uint16, types.int16):
        return x
    if kind == types.int16 and HAS_FLOAT16:
        return builder.bitcast(builder.fptrunc(x, ir.HalfType()), ir.IntType(16))
    word, number = ir.IntType(32), ir.FloatType()
    bits = builder.bitcast(x, word)

    def even(value: Any, kept: int) -> Any:
        """Add what makes the bits that are cut off round to the nearest, ties to even."""
        odd = builder.and_(builder.lshr(value, word(kept)), word(1))
        return builder.add(value, builder.add(odd, word((1 << (kept - 1)) - 1)))

    if kind == types.uint16:
        quiet = builder.or_(bits, word(0x400000))
        chosen = builder.select(builder.fcmp_unordered("uno", x, x), quiet, even(bits, 16))
        return builder.trunc(builder.lshr(chosen, word(16)), ir.IntType(16))
    size = builder.and_(bits, word(0x7FFFFFFF))
    normal = builder.lshr(even(builder.sub(size, word((127 - 15) << 23)), 13), word(13))
    # One half has its last place where a number without an exponent has it: the sum rounds.
    half = word(126 << 23)
    small = builder.fadd(builder.bitcast(size, number), builder.bitcast(half, number))
    is_small = builder.icmp_unsigned("<", size, word((127 - 14) << 23))
    chosen = builder.select(is_small, builder.sub(builder.bitcast(small, word), half), normal)
    endless = builder.select(builder.fcmp_unordered("uno", x, x), word(0x7E00), word(0x7C00))
    chosen = builder.select(builder.icmp_unsigned(">=", size, word((127 + 16) << 23)), endless, chosen)
    sign = builder.and_(builder.lshr(bits, word(16)), word(0x8000))
    return builder.trunc(builder.or_(chosen, sign), ir.IntType(16))


@intrinsic
def widened(_typing: Any, x: Any) -> Any:
    """A stored number in the type to compute in."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return _widen(builder, args[0], x)

    return _computed(x)(x), generate


@intrinsic
def narrowed(_typing: Any, x: Any, out: Any) -> Any:
    """A computed number in the type of the entries of `out`, rounded to the nearest, ties to even."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return _narrow(builder, args[0], out.dtype)

    return out.dtype(x, out), generate


@intrinsic
def load(_typing: Any, pointer: Any, index: Any) -> Any:
    """The number at an index of a C array, in the type to compute in."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return _widen(builder, builder.load(builder.gep(args[0], [args[1]])), pointer.dtype)

    return _computed(pointer.dtype)(pointer, types.intp), generate


@intrinsic
def store(_typing: Any, pointer: Any, index: Any, x: Any) -> Any:
    """Write a number to an index of a C array, rounded to the type it is stored in."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        builder.store(_narrow(builder, args[2], pointer.dtype), builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(pointer, types.intp, _computed(pointer.dtype)), generate


@intrinsic
def whole_registers(_typing: Any) -> Any:
    """Let the function this stands in use 512-bit registers where there are any; LLVM by itself stops at 256.

    What does not fit into them is put aside on the stack, which is aligned to whole lines of the cache: a register that
    lies across two costs twice as much, and which ones do would change from one process to the next.
    """

    def generate(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        for attribute in ('"prefer-vector-width"="512"', '"stackrealign"'):
            set.add(builder.function.attributes, attribute)  # llvmlite knows no such attribute by name
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def either(_typing: Any, flag: Any, condition: Any) -> Any:
    """A flag, raised if a condition holds."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.or_(*args)

    return types.boolean(types.boolean, types.boolean), generate


def _on_the_stack(count: int, description: str) -> Any:
    @intrinsic
    def array(_typing: Any, like: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
            number = context.get_value_type(like)
            with builder.goto_entry_block():  # Numba's own helper fills it with zeros, each time the function is called
                array = builder.alloca(ir.ArrayType(number, count))
            array.align = 64  # a register's width: none is written across two lines of the cache
            return builder.bitcast(array, number.as_pointer())

        return types.CPointer(like)(like), generate

    array.__doc__ = description
    return array


room = _on_the_stack(PIECE, "A C array of `PIECE` numbers of a type, on the stack.")
lanes = _on_the_stack(LANES, "A C array of `LANES` numbers of a type, on the stack.")


@intrinsic
def floor(_typing: Any, x: Any) -> Any:
    """The largest whole number up to a number, as a number of its type: Python's is an integer."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.floor", [args[0].type]), args)

    return x(x), generate


@intrinsic
def with_sign(_typing: Any, size: Any, x: Any) -> Any:
    """The size of one number with the sign of another."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        number = args[0].type
        of_two = ir.FunctionType(number, [number, number])
        return builder.call(builder.module.declare_intrinsic("llvm.copysign", [number], of_two), args)

    return x(x, x), generate


@intrinsic
def plus(_typing: Any, total: Any, x: Any) -> Any:
    """``total + x`` where the order of a sum may change: lets the loop keep one partial sum per SIMD lane."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fadd(*args, flags=("reassoc",))

    return total(total, total), generate


# --- both types -----------------------------------------------------------------------------------------------------


@_compiled
def maximum(x, y):  # type: ignore[no-untyped-def]
    """The larger of two; NaN if either is NaN."""
    return select(y != y, y, select(y > x, y, x))  # the inner select is one instruction; of a constant nothing else is


@_compiled
def minimum(x, y):  # type: ignore[no-untyped-def]
    """The smaller of two; NaN if either is NaN."""
    return select(y != y, y, select(y < x, y, x))


@_compiled
def sign_f32(x):  # type: ignore[no-untyped-def]
    """-1, 0 or 1; NaN for NaN."""
    return select((x == float32(0)) | (x != x), x, with_sign(float32(1), x))


@_compiled
def sign_f64(x):  # type: ignore[no-untyped-def]
    """-1, 0 or 1; NaN for NaN."""
    return select((x == 0.0) | (x != x), x, with_sign(1.0, x))


@_compiled
def absolute(x):  # type: ignore[no-untyped-def]
    """The size of a number."""
    return math.fabs(x)


@_compiled
def sqrt(x):  # type: ignore[no-untyped-def]
    """The square root, correctly rounded."""
    return math.sqrt(x)


# --- float32 --------------------------------------------------------------------------------------------------------
# exp: x = n log 2 + r with |r| <= log(2) / 2, a polynomial in r, and 2^n in two factors so that results below the
# smallest normal number come out right: the second is a constant, and beside it the first stays in range. n is found by
# adding 1.5 * 2^23, which leaves it in the low bits: unlike a conversion, that is defined for NaN. With the bias of the
# exponent added too, one shift makes the power of two. The polynomials are near-minimax (Chebyshev) fits. Numba widens
# integers to 64 bits in arithmetic; ``int32(...)`` around it keeps them as wide as the numbers, hence as many in a
# register.
#
# A function of part of the numbers (`exp_nonpositive` ...) is what remains of the whole one there, or better: NaN for
# NaN, and for other numbers anything.

_ONE_32 = np.float32(12582912.0 + 127)  # its bits shifted left by 23 are those of 1.0
_LOG2E_32 = np.float32(1.4426950408889634)
_LN2_HIGH_32 = np.float32(0.693359375)
_LN2_LOW_32 = np.float32(-0.00021219444170128554)
_FAR_32 = np.float32(64)  # in powers of two: from the smallest subnormal number it leads to normal ones
_UP_32, _DOWN_32 = np.float32(2.0**64), np.float32(2.0**-64)


@_compiled
def _reduced_f32(x, magic):  # type: ignore[no-untyped-def]
    """r, and 2 to the power of n and of what `magic` has beyond `_ONE_32`."""
    shifted = x * _LOG2E_32 + magic
    n = shifted - magic
    r = x - n * _LN2_HIGH_32
    return r - n * _LN2_LOW_32, from_bits_f32(int32(bits_f32(shifted) << int32(23)))


@_compiled
def _growth_f32(r):  # type: ignore[no-untyped-def]
    """``(exp(r) - 1) / r``."""
    p = float32(0.0013926250831497611)
    p = p * r + float32(0.008363232883682618)
    p = p * r + float32(0.04166655421298415)
    p = p * r + float32(0.16666576666119928)
    p = p * r + float32(0.5)
    return p * r + float32(1)


@_compiled
def exp_f32(x):  # type: ignore[no-untyped-def]
    """The exponential."""
    x = select(x < float32(-105.0), float32(-105.0), x)
    x = select(x > float32(89.0), float32(89.0), x)
    large = x > float32(0)
    r, scale = _reduced_f32(x, select(large, _ONE_32 - _FAR_32, _ONE_32 + _FAR_32))
    return (_growth_f32(r) * r + float32(1)) * scale * select(large, _UP_32, _DOWN_32)


@_compiled
def exp_nonpositive_f32(x):  # type: ignore[no-untyped-def]
    """The exponential of a number <= 0."""
    r, scale = _reduced_f32(select(x < float32(-105.0), float32(-105.0), x), _ONE_32 + _FAR_32)
    return (_growth_f32(r) * r + float32(1)) * scale * _DOWN_32


@_compiled
def expm1_f32(x):  # type: ignore[no-untyped-def]
    """``exp(x) - 1`` without cancellation."""
    given = x
    x = select(x < float32(-20.0), float32(-20.0), x)
    x = select(x > float32(89.0), float32(89.0), x)
    r, scale = _reduced_f32(x, _ONE_32 - float32(1))  # half of the power of two, which itself may be out of range
    result = (_growth_f32(r) * r * scale + (scale - float32(0.5))) * float32(2)
    return select(math.fabs(given) < float32(1e-30), given, result)  # of -0 it is -0, and half of less may be nothing


@_compiled
def expm1_nonpositive_f32(x):  # type: ignore[no-untyped-def]
    """``exp(x) - 1`` of a number <= 0 without cancellation."""
    r, scale = _reduced_f32(select(x < float32(-20.0), float32(-20.0), x), _ONE_32)
    return -math.fabs(_growth_f32(r) * r * scale + (scale - float32(1)))  # of 0 it is -0


@_compiled
def _log_of_f32(u, correction):  # type: ignore[no-untyped-def]
    """The logarithm of the normal number u, plus a correction that u has lost to rounding."""
    bits = bits_f32(u)
    e = int32(int32(bits - int32(0x3F3504F3)) >> int32(23))
    scale = from_bits_f32(int32(max(int32(int32(127) - e), int32(0))) << int32(23))
    f = (from_bits_f32(bits - int32(e << int32(23))) - float32(1)) + correction * scale
    p = float32(0.06971611471451178)
    p = p * f + float32(-0.11479733846637635)
    p = p * f + float32(0.1168541992348674)
    p = p * f + float32(-0.12425687331451106)
    p = p * f + float32(0.1424905764569748)
    p = p * f + float32(-0.16667802319501254)
    p = p * f + float32(0.200007157488921)
    p = p * f + float32(-0.24999996957950882)
    p = p * f + float32(0.33333331180030046)
    n = float32(e)
    square = f * f
    tail = square * f * p + n * _LN2_LOW_32
    tail = tail - float32(0.5) * square
    return (tail + f) + n * _LN2_HIGH_32


@_compiled
def log_f32(x):  # type: ignore[no-untyped-def]
    """The natural logarithm: -inf at 0, NaN below."""
    tiny = x < float32(1.1754943508222875e-38)
    result = _log_of_f32(select(tiny, x * float32(8388608.0), x), float32(0))
    result = select(tiny, result - float32(15.942385152878742), result)
    result = select(x > float32(0), result, select(x == float32(0), float32(-math.inf), float32(math.nan)))
    return select(x < float32(math.inf), result, x)


@_compiled
def log1p_f32(x):  # type: ignore[no-untyped-def]
    """``log(1 + x)`` without cancellation: what the sum loses to rounding is put back after the reduction."""
    u = float32(1) + x
    result = _log_of_f32(u, x - (u - float32(1)))
    result = with_sign(result, x)  # of -0 it is -0
    result = select(x > float32(-1), result, select(x == float32(-1), float32(-math.inf), float32(math.nan)))
    return select(x < float32(math.inf), result, x)


@_compiled
def log1p_fraction_f32(x):  # type: ignore[no-untyped-def]
    """``log(1 + x)`` of a number in [0, 1]."""
    p = float32(-0.003318473696708679)
    p = p * x + float32(0.020204592496156693)
    p = p * x + float32(-0.05766446515917778)
    p = p * x + float32(0.10680557787418365)
    p = p * x + float32(-0.15355397760868073)
    p = p * x + float32(0.19695401191711426)
    p = p * x + float32(-0.24958588182926178)
    p = p * x + float32(0.33330512046813965)
    p = p * x + float32(-0.4999993145465851)
    return (x * x) * p + x


@_compiled
def tanh_f32(x):  # type: ignore[no-untyped-def]
    """The hyperbolic tangent."""
    u = expm1_nonpositive_f32(float32(-2) * math.fabs(x))
    return with_sign(u / (float32(2) + u), x)


# --- float64 --------------------------------------------------------------------------------------------------------

_MAGIC_64 = 6755399441055744.0
_MAGIC_BITS_64 = np.int64(0x4338000000000000)
_ONE_64 = _MAGIC_64 + 1023  # its bits shifted left by 52 are those of 1.0
_LOG2E_64 = 1.4426950408889634
_LN2_HIGH_64 = 0.6931471803691238
_LN2_LOW_64 = 1.9082149292705877e-10
_FAR_64 = 512.0
_UP_64, _DOWN_64 = 2.0**512, 2.0**-512


@_compiled
def _reduced_f64(x, magic):  # type: ignore[no-untyped-def]
    """r, and 2 to the power of n and of what `magic` has beyond `_ONE_64`."""
    shifted = x * _LOG2E_64 + magic
    n = shifted - magic
    r = x - n * _LN2_HIGH_64
    return r - n * _LN2_LOW_64, from_bits_f64(bits_f64(shifted) << int64(52))


@_compiled
def _growth_f64(r):  # type: ignore[no-untyped-def]
    """``(exp(r) - 1) / r``."""
    p = 2.09147553258932e-09
    p = p * r + 2.5105312729622103e-08
    p = p * r + 2.755727347871858e-07
    p = p * r + 2.755725517000089e-06
    p = p * r + 2.480158732567746e-05
    p = p * r + 0.0001984126987500228
    p = p * r + 0.0013888888888883711
    p = p * r + 0.008333333333326084
    p = p * r + 0.04166666666666667
    p = p * r + 0.1666666666666667
    p = p * r + 0.5
    return p * r + 1.0


@_compiled
def exp_f64(x):  # type: ignore[no-untyped-def]
    """The exponential."""
    x = select(x < -746.0, -746.0, x)
    x = select(x > 710.0, 710.0, x)
    large = x > 0.0
    r, scale = _reduced_f64(x, select(large, _ONE_64 - _FAR_64, _ONE_64 + _FAR_64))
    return (_growth_f64(r) * r + 1.0) * scale * select(large, _UP_64, _DOWN_64)


@_compiled
def exp_nonpositive_f64(x):  # type: ignore[no-untyped-def]
    """The exponential of a number <= 0."""
    r, scale = _reduced_f64(select(x < -746.0, -746.0, x), _ONE_64 + _FAR_64)
    return (_growth_f64(r) * r + 1.0) * scale * _DOWN_64


@_compiled
def expm1_f64(x):  # type: ignore[no-untyped-def]
    """``exp(x) - 1`` without cancellation."""
    given = x
    x = select(x < -40.0, -40.0, x)
    x = select(x > 710.0, 710.0, x)
    r, scale = _reduced_f64(x, _ONE_64 - 1.0)  # half of the power of two, which itself may be out of range
    result = (_growth_f64(r) * r * scale + (scale - 0.5)) * 2.0
    return select(math.fabs(given) < 1e-300, given, result)  # of -0 it is -0, and half of less may be nothing


@_compiled
def expm1_nonpositive_f64(x):  # type: ignore[no-untyped-def]
    """``exp(x) - 1`` of a number <= 0 without cancellation."""
    r, scale = _reduced_f64(select(x < -40.0, -40.0, x), _ONE_64)
    return -math.fabs(_growth_f64(r) * r * scale + (scale - 1.0))  # of 0 it is -0


@_compiled
def _log_parts_f64(u, correction):  # type: ignore[no-untyped-def]
    bits = bits_f64(u)
    e = (bits - int64(0x3FE6A09E667F3BCD)) >> int64(52)
    scale = from_bits_f64(max(int64(1023) - e, int64(0)) << int64(52))
    f = (from_bits_f64(bits - (e << int64(52))) - 1.0) + correction * scale
    s = f / (2.0 + f)
    z = s * s
    p = 0.13088034850927555
    p = p * z + 0.13268638369266825
    p = p * z + 0.15386244737621665
    p = p * z + 0.18181795547521137
    p = p * z + 0.22222222392581045
    p = p * z + 0.28571428570799784
    p = p * z + 0.40000000000000885
    p = p * z + 0.6666666666666666
    return float64(e), f, s, z * p


@_compiled
def _log_of_f64(u, correction):  # type: ignore[no-untyped-def]
    """The logarithm of the normal number u, plus a correction that u has lost to rounding."""
    n, f, s, series = _log_parts_f64(u, correction)
    half_square = 0.5 * f * f
    return n * _LN2_HIGH_64 - ((half_square - (s * (half_square + series) + n * _LN2_LOW_64)) - f)


@_compiled
def log_f64(x):  # type: ignore[no-untyped-def]
    """The natural logarithm: -inf at 0, NaN below."""
    tiny = x < 2.2250738585072014e-308
    result = _log_of_f64(select(tiny, x * 18014398509481984.0, x), 0.0)
    result = select(tiny, result - 37.42994775023705, result)
    result = select(x > 0.0, result, select(x == 0.0, -math.inf, math.nan))
    return select(x < math.inf, result, x)


@_compiled
def log1p_f64(x):  # type: ignore[no-untyped-def]
    """``log(1 + x)`` without cancellation: what the sum loses to rounding is put back after the reduction."""
    u = 1.0 + x
    result = _log_of_f64(u, x - (u - 1.0))
    result = with_sign(result, x)  # of -0 it is -0
    result = select(x > -1.0, result, select(x == -1.0, -math.inf, math.nan))
    return select(x < math.inf, result, x)


@_compiled
def log1p_fraction_f64(x):  # type: ignore[no-untyped-def]
    """``log(1 + x)`` of a number in [0, 1]."""
    s = x / (2.0 + x)
    z = s * s
    p = 0.1690126704518173
    p = p * z + 0.08407689893790059
    p = p * z + 0.1208944760828565
    p = p * z + 0.1330325624062169
    p = p * z + 0.15386369123859958
    p = p * z + 0.18181753897913644
    p = p * z + 0.22222223648238262
    p = p * z + 0.28571428553899897
    p = p * z + 0.4000000000009872
    p = p * z + 0.6666666666666652
    half_square = 0.5 * x * x
    return x - (half_square - s * (half_square + z * p))


@_compiled
def tanh_f64(x):  # type: ignore[no-untyped-def]
    """The hyperbolic tangent."""
    u = expm1_nonpositive_f64(-2.0 * math.fabs(x))
    return with_sign(u / (2.0 + u), x)


# --- powers and gamma functions -------------------------------------------------------------------------------------


@_as_written
def raised_f64(x, y):  # type: ignore[no-untyped-def]
    """``x ** y`` for x >= 0: NaN for negative x, 1 for y = 0.

    The logarithm is carried as a sum of two numbers, for an error in it grows with the result's exponent.
    """
    tiny = x < 2.2250738585072014e-308
    n, f, s, series = _log_parts_f64(select(tiny, x * 18014398509481984.0, x), 0.0)
    n = select(tiny, n - 54.0, n)
    # log(1 + f) = 2 s + s * series with s = f / (2 + f): s to twice the precision by one step of Newton's division.
    wide = 2.0 + f
    s_high = from_bits_f64(bits_f64(s) & int64(-134217728))
    wide_high = from_bits_f64(bits_f64(wide) & int64(-134217728))
    wide_low = (2.0 - wide_high) + f
    s_low = ((f - s_high * wide_high) - s_high * wide_low) / wide
    high = n * _LN2_HIGH_64
    lead = 2.0 * s_high
    total = high + lead
    back = total - high
    low = ((high - (total - back)) + (lead - back)) + (2.0 * s_low + s * series + n * _LN2_LOW_64)
    leading = total + low
    total, low = leading, (total - leading) + low
    # y * (total + low), the product of the leading parts exactly.
    total_high = from_bits_f64(bits_f64(total) & int64(-134217728))
    y_high = from_bits_f64(bits_f64(y) & int64(-134217728))
    product = y * total
    error = ((y_high * total_high - product) + y_high * (total - total_high)) + (y - y_high) * total
    rest = error + y * low
    bounded = select(product > 800.0, 800.0, select(product < -800.0, -800.0, product))
    rest = select(bounded == product, rest, 0.0)
    result = exp_f64(bounded)
    result = select((math.fabs(rest) < 1.0) & (result < math.inf), result + result * rest, result)
    log_is_infinite = (x == 0.0) | (x == math.inf)
    grows = (x == math.inf) == (y > 0.0)
    result = select(log_is_infinite, select(grows, math.inf, 0.0), result)
    result = select((x < 0.0) | (x != x) | (y != y), math.nan, result)
    return select((y == 0.0) | (x == 1.0), 1.0, result)


@_compiled
def raised_f32(x, y):  # type: ignore[no-untyped-def]
    """``x ** y`` for x >= 0: NaN for negative x, 1 for y = 0. By way of float64."""
    wide_x, wide_y = float64(x), float64(y)
    product = wide_y * log_f64(wide_x)
    result = exp_f64(product)
    return select((y == float32(0)) | (x == float32(1)), float32(1), float32(result))


@_compiled
def lgamma_f64(x):  # type: ignore[no-untyped-def]
    """Log of the absolute value of the gamma function; the C library's, hence not vectorised."""
    return math.lgamma(x)


@_compiled
def lgamma_f32(x):  # type: ignore[no-untyped-def]
    """Log of the absolute value of the gamma function; the C library's, hence not vectorised."""
    return float32(math.lgamma(float64(x)))


digamma_f64 = _compiled(gamma.digamma_of(select, log_f64))


@_compiled
def digamma_f32(x):  # type: ignore[no-untyped-def]
    """Derivative of `lgamma` for positive arguments. By way of float64."""
    return float32(digamma_f64(float64(x)))


trigamma_f64 = _compiled(gamma.trigamma_of(select))


@_compiled
def trigamma_f32(x):  # type: ignore[no-untyped-def]
    """Second derivative of `lgamma` for positive arguments. By way of float64."""
    return float32(trigamma_f64(float64(x)))
