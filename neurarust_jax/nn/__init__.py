"""Layers, losses and initializers: PyTorch's `torch.nn`."""

from . import functional, init
from .activation import *  # noqa: F403
from .adaptive import *  # noqa: F403
from .attention import MultiheadAttention
from .batchnorm import *  # noqa: F403
from .containers import *  # noqa: F403
from .conv import *  # noqa: F403
from .distance import *  # noqa: F403
from .dropout import *  # noqa: F403
from .embedding import *  # noqa: F403
from .flatten import *  # noqa: F403
from .fold import *  # noqa: F403
from .instancenorm import *  # noqa: F403
from .lazy import *  # noqa: F403
from .lazyconv import *  # noqa: F403
from .linear import *  # noqa: F403
from .loss import *  # noqa: F403
from .module import Module
from . import pytree  # makes modules pytrees
from .normalization import *  # noqa: F403
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter
from .padding import *  # noqa: F403
from .pooling import *  # noqa: F403
from .recurrent import *  # noqa: F403
from .scanned import *  # noqa: F403
from .scanned_state import *  # noqa: F403
from .transformer import *  # noqa: F403
from .vision import *  # noqa: F403
from . import modules, utils
