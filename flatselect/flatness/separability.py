"""Testing numerically what a tail does: which feature each channel feeds, and whether it is piecewise linear."""

import torch
from torch import Tensor

from flatselect.errors import UnsupportedHeadError
from flatselect.flatness.slopes import TailPass
from flatselect.flatness.tail_graph import has_custom_function
from flatselect.records import Exactness

# Relative to the largest slope of a channel: what rounding may leave of a zero.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
_LOW_PRECISION_TOLERANCE = 5e-2


def perturb_activations(activations: Tensor) -> Tensor:
    """Adds noise of many sizes to a convolution's output, so that both sides of every kink are seen.

    Element by element the noise is between half and 64 times as large as the channel's spread: an activation that is
    off for the images at hand is on for some of it. Own generator: torch's is untouched.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(activations.shape, generator=generator, dtype=torch.float64)
    noise *= 2 ** (7 * torch.rand(activations.shape, generator=generator, dtype=torch.float64) - 1)
    spread = activations.double().std(dim=(0, 2, 3), correction=0, keepdim=True)
    spread = torch.where(spread > 0, spread, torch.ones_like(spread)).cpu()
    return (activations.double() + (noise * spread).to(activations.device)).to(activations.dtype)


def find_channel_features(tail: TailPass, layer: str) -> Tensor | None:
    """Which feature of the classifier each channel of the convolution feeds.

    Feature j's cotangent is r_j, then in turn r_j·(1 + bit b of j): where channel k feeds feature j alone, the two
    gradients' ratio at k is 1 or 2 and spells j in binary, whatever lies between. So slices (DenseNet), shuffles and
    concatenations need no rule of their own.

    Args:
        tail: A pass with perturbed activations, of at least two images.
        layer: The convolution's name, for messages.

    Returns:
        (J,) int64; None where some channel acts on several features (the tail mixes channels).

    Raises:
        UnsupportedHeadError: A flattened map (one channel feeds several features, position by position), or a tail
            that mixes images.
    """
    features, n_features = tail.features, tail.features.shape[1]
    tolerance = find_tolerance(features.dtype)
    generator = torch.Generator().manual_seed(1)
    weights = (1 + torch.rand(features.shape, generator=generator, dtype=torch.float64)).to(features)
    base = _flatten_slopes(tail.differentiate_features(weights))  # (n_images, J, P)
    _check_images_apart(tail, weights, base, tolerance, layer)
    largest = base.abs().amax(dim=(0, 2))  # (J,)
    is_seen = largest > 0
    strongest = base.abs().transpose(0, 1).flatten(1).argmax(1, keepdim=True)  # (J, 1)
    is_clear = base.abs() > 0.01 * largest[:, None]

    index = torch.arange(n_features, device=features.device)
    of_channel = torch.zeros_like(strongest[:, 0])
    of_position = torch.zeros_like(base, dtype=torch.int64)
    is_separable = is_flattened = True
    for bit in range((n_features - 1).bit_length()):
        doubled = 1 + (index >> bit & 1)
        gradient = _flatten_slopes(tail.differentiate_features(weights * doubled))
        ratio = torch.where(is_clear, gradient / torch.where(is_clear, base, 1), 1)
        bits = ratio > 1.5
        is_flattened &= bool(((ratio - 1 - bits.double()).abs() <= 100 * tolerance).all())
        of_position |= bits.long() << bit
        bit_of_channel = bits.transpose(0, 1).flatten(1).gather(1, strongest)[:, 0].long()
        of_channel |= bit_of_channel << bit
        leak = (gradient - (1 + bit_of_channel)[:, None] * base).abs().amax(dim=(0, 2))
        is_separable &= bool((leak <= tolerance * largest).all())
    if is_separable:
        return _fill_unseen(of_channel, is_seen, n_features)
    if is_flattened:
        raise UnsupportedHeadError(
            f"the classifier takes {n_features} features from the {len(of_channel)} channels of {layer!r}, several of "
            "each channel (a flattened map): flatness here needs one feature a channel; pool the map to 1×1 first"
        )
    return None


def find_exactness(tail: TailPass) -> Exactness:
    """Says "hessian" if the features are piecewise linear in the activations: a second derivative of 0."""
    if has_custom_function(tail.features.grad_fn):  # may hide its curvature from autograd: nothing is claimed
        return "gauss_newton"
    generator = torch.Generator().manual_seed(2)
    cotangent = torch.randn(tail.features.shape, generator=generator, dtype=torch.float64).to(tail.features)
    (slopes,) = torch.autograd.grad(
        tail.features, tail.activations, cotangent, create_graph=True, allow_unused=True, materialize_grads=True
    )
    if not slopes.requires_grad:
        return "hessian"
    direction = torch.randn(slopes.shape, generator=generator, dtype=torch.float64).to(slopes)
    try:
        (curvature,) = torch.autograd.grad(
            slopes, tail.activations, direction, retain_graph=True, allow_unused=True, materialize_grads=True
        )
    except RuntimeError:  # an operation without a second derivative: nothing is known, so nothing is claimed
        return "gauss_newton"
    # Exactly 0: the term left out is as large as the Gauss-Newton part however small the activations are.
    return "gauss_newton" if bool(curvature.any()) else "hessian"


def find_tolerance(dtype: torch.dtype) -> float:
    """Relative error below which two numbers computed in `dtype` along two ways count as equal."""
    return _TOLERANCE.get(dtype, _LOW_PRECISION_TOLERANCE)


def _flatten_slopes(gradient: Tensor) -> Tensor:
    return gradient.double().flatten(2)


def _check_images_apart(tail: TailPass, weights: Tensor, base: Tensor, tolerance: float, layer: str) -> None:
    """One image's features must not move with another's activations (batch statistics in evaluation mode do)."""
    first_only = torch.zeros_like(weights)
    first_only[0] = weights[0]
    others = _flatten_slopes(tail.differentiate_features(first_only))[1:]
    if bool(others.abs().max() > tolerance * base.abs().max()):
        raise UnsupportedHeadError(
            f"between {layer!r} and the classifier one image's features depend on the other images of the batch (a "
            "batch norm with track_running_stats=False?): flatness is defined image by image; use running statistics"
        )


def _fill_unseen(of_channel: Tensor, is_seen: Tensor, n_features: int) -> Tensor | None:
    """Gives channels that never showed a slope the feature that the seen ones' common offset says.

    Returns None where the seen channels have no common offset: the map is then unknown.
    """
    if bool(is_seen.all()):
        return of_channel
    channels = torch.arange(len(of_channel), device=of_channel.device)
    offsets = sorted(set((of_channel - channels)[is_seen].tolist()))
    if not offsets and n_features == len(of_channel):
        offsets = [0]
    if len(offsets) != 1 or offsets[0] < 0 or offsets[0] + len(of_channel) > n_features:
        return None
    shift: int = offsets[0]
    return channels + shift
