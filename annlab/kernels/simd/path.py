"""Which SIMD instructions the kernels use, and how compiled kernels are cached.

There are three paths. `avx512` and `avx2` are named after what they need; `generic` uses vectors of 16 bytes, which
LLVM turns into SSE, NEON or whatever the machine has. The widest path of the CPU is chosen when this module is
imported; the environment variable `ANNLAB_SIMD` forces another one for a whole process. A fourth one, `wide`, is never
chosen but may be forced anywhere: registers of 64 bytes, which LLVM splits into what the machine has. It is slow, and
lets a machine without AVX-512 test what kernels do with sixteen lanes.

Kernels take their widths from the constants below. Numba does not see such constants in the key of its disk cache, nor
that an imported file was edited, so two processes with different paths could load each other's machine code. Therefore
every kernel that is called from Python is made by `entry`: its first argument is a value whose *type* names the path
and a hash of all kernel sources, and a type is part of the key.
"""

import hashlib
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numba
from numba import types
from numba.core.codegen import get_host_cpu_features
from numba.extending import NativeValue, models, register_model, typeof_impl, unbox

from annlab.kernels.simd.cache import cache_of

config: Any = numba.config


def refuse_disabled_compiler(disabled: bool) -> None:
    """Raise if Numba is told to run functions as plain Python: kernels read memory by address, and would crash."""
    if disabled:
        raise RuntimeError(
            "annlab needs Numba's compiler, which NUMBA_DISABLE_JIT turns off: its kernels use pointers and SIMD "
            "registers, which plain Python does not have. Unset NUMBA_DISABLE_JIT (or numba.config.DISABLE_JIT). To "
            "debug or measure the coverage of your own compiled functions, call their py_func instead"
        )


refuse_disabled_compiler(bool(config.DISABLE_JIT))

REGISTER_BYTES_OF = {"avx512": 64, "avx2": 32, "generic": 16, "wide": 64}


def _cpu_features() -> set[str]:
    """The features that LLVM may use: the host's, or those that NUMBA_CPU_NAME and NUMBA_CPU_FEATURES allow."""
    if config.CPU_FEATURES is not None:
        text = config.CPU_FEATURES
    elif config.CPU_NAME is not None:
        text = ""  # features follow from the name, which only LLVM knows: ANNLAB_SIMD has to say the path
    else:
        text = get_host_cpu_features()
    return {feature[1:] for feature in text.split(",") if feature.startswith("+")}


def _choose_path(requested: str, features: set[str]) -> str:
    available = ["generic"]
    if {"avx2", "fma"} <= features:
        available.insert(0, "avx2")
        if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= features:
            available.insert(0, "avx512")
    if not requested:
        return available[0]
    if requested not in REGISTER_BYTES_OF:
        raise ValueError(f"ANNLAB_SIMD={requested!r} is not a SIMD path: use one of {', '.join(REGISTER_BYTES_OF)}")
    if requested not in (*available, "wide") and config.CPU_NAME is None:
        raise ValueError(f"ANNLAB_SIMD={requested!r} needs a CPU that has it; this one offers {', '.join(available)}")
    return requested


FEATURES = _cpu_features()
PATH_NAME = _choose_path(os.environ.get("ANNLAB_SIMD", ""), FEATURES)
REGISTER_BYTES = REGISTER_BYTES_OF[PATH_NAME]

HAS_BYTE_DOT = PATH_NAME == "avx512" and "avx512vnni" in FEATURES


def _source_hash() -> str:
    """Of all files in all folders of kernels: an edited one must not run from an older cache."""
    digest, kernels = hashlib.sha256(), pathlib.Path(__file__).parents[1]
    for source in sorted(kernels.rglob("*.py")):
        digest.update(source.relative_to(kernels).as_posix().encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


class PathType(types.Type):
    """The type of `PATH`: it carries no data, only a name that Numba's cache can see."""

    def __init__(self, name: str) -> None:
        super().__init__(name=f"simd_path({name})")


class Path:
    """The value that `entry` passes first to every kernel."""


register_model(PathType)(models.OpaqueModel)
PATH = Path()
_PATH_TYPE = PathType(f"{PATH_NAME}, byte dot {HAS_BYTE_DOT}, {_source_hash()}")
PATH._numba_type_ = _PATH_TYPE  # type: ignore[attr-defined]


@typeof_impl.register(Path)
def _typeof_path(value: Path, context: Any) -> PathType:
    return _PATH_TYPE


@unbox(PathType)
def _unbox_path(typ: PathType, obj: Any, context: Any) -> NativeValue:
    return NativeValue(context.context.get_dummy_value())


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that other kernels call: compiled into its callers."""
    return numba.njit(nogil=True)(function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel whose body becomes part of its caller, as tiles must (their accumulators are the caller's registers)."""
    return numba.njit(nogil=True, forceinline=True)(function)


class entry:
    """A kernel that Python calls, with arrays; compiled at its first call and cached on disk where that is possible.

    The function's first parameter must be called `path`; callers leave it out. Arrays must be C-contiguous (Numba
    would otherwise compile a kernel of its own for the other layout) and writeable (the same).

    What belongs together travels as a NamedTuple, whose class is the parameter's annotation (no other is annotated).
    Numba takes a microsecond and more to see through one, so it is handed over as the plain tuple that it is, and a
    kernel begins by giving the parts their names again: `Rows(*rows)`, or `pointers(Rows(*rows))` for the addresses.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if function.__code__.co_varnames[:1] != ("path",):
            raise TypeError(f"the first parameter of the kernel {function.__name__} must be `path`")
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self._takes_tuples = bool(function.__annotations__)
        compiled: Any = numba.njit(nogil=True)
        self.compiled = compiled(function)
        cache = cache_of(function)
        if cache is not None:
            self.compiled._cache = cache

    def __call__(self, *arguments: Any) -> Any:
        if not self._takes_tuples:
            return self.compiled(PATH, *arguments)
        return self.compiled(PATH, *[tuple(one) if isinstance(one, tuple) else one for one in arguments])
