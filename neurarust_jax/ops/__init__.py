"""Every op, by family. Importing this package attaches the methods to `Tensor`."""

# ruff: noqa: F403
import sys

from . import inplace
from .attributes import *
from .complex import *
from .conversion import *
from .creation import *
from .distinct import *
from .elementwise import *
from .grids import *
from .histograms import *
from .indexing import *
from .joining import *
from .lowrank import *
from .matmul import *
from .matrix import *
from .moments import *
from .numeric import *
from .quantiles import *
from .random import *
from .recurrent import *
from .reduction import *
from .scan import *
from .scatter import *
from .segments import *
from .shaping import *
from .slicing import *
from .sorting import *
from .special import *
from .spectrogram import *
from .tensor_types import *
from .windows import *

inplace.attach_in_place_methods()
from .inplace import *  # noqa: E402 (they exist now)
from .layer_forms import *  # noqa: E402

_FAMILIES = (
    "attributes",
    "complex",
    "conversion",
    "creation",
    "distinct",
    "elementwise",
    "grids",
    "histograms",
    "indexing",
    "inplace",
    "joining",
    "layer_forms",
    "lowrank",
    "matmul",
    "matrix",
    "moments",
    "numeric",
    "quantiles",
    "random",
    "recurrent",
    "reduction",
    "scan",
    "scatter",
    "segments",
    "shaping",
    "slicing",
    "sorting",
    "special",
    "spectrogram",
    "tensor_types",
    "windows",
)
__all__ = [name for family in _FAMILIES for name in sys.modules[f"{__name__}.{family}"].__all__]  # pyright: ignore[reportUnsupportedDunderAll]
