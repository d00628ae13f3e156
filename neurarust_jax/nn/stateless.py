"""`nr.func.replace_all_batch_norm_modules_`: batch normalization without running statistics, for the transformations of `nr.func`."""

from .batchnorm import _BatchNorm
from .module import Module

__all__ = ["replace_all_batch_norm_modules_"]


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Take the running statistics out of every batch normalization in a module, which then always uses those of the batch.

    A `vmap` or `grad` over examples cannot update statistics that all examples share.

    Args:
        root: a module, which is changed in place.

    Returns:
        The module.

    Examples:
        >>> import neurarust_jax as nr
        >>> model = nr.nn.Sequential(nr.nn.Conv2d(1, 2, 3), nr.nn.BatchNorm2d(2))
        >>> nr.func.replace_all_batch_norm_modules_(model)[1].running_mean is None
        True
    """
    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = None
            module.running_var = None
            module.num_batches_tracked = None
            module.track_running_stats = False
    return root
