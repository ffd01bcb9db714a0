"""The one place that imports torch, so that its absence is always explained in the same words."""

try:
    import torch
    from torch import nn
except ImportError as error:
    raise ImportError('training encoders needs PyTorch: pip install "annlab[encoders]"') from error

__all__ = ["nn", "torch"]
