"""Testing numerically what a tail does: which feature each channel feeds, and whether it is piecewise linear."""

from collections.abc import Collection, Sequence
from typing import Literal

import torch
from torch import Tensor

from flatselect.errors import UnsupportedHeadError
from flatselect.flatness.patches import LayerGeometry
from flatselect.flatness.tail import TailPass
from flatselect.flatness.tail_graph import has_custom_function
from flatselect.flatness.tail_structure import TailStructure
from flatselect.records import Exactness

# Relative to the largest slope of a channel: what rounding may leave of a zero.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
_LOW_PRECISION_TOLERANCE = 5e-2
# Of the numbers that spell a feature: each digit takes a backward pass through the tail.
_DIGIT_BASE = 8


def perturb_activations(activations: Tensor) -> Tensor:
    """Adds noise of many sizes to a layer's output, so that both sides of every kink are seen.

    By turns the rows of the batch get a faint noise (a twentieth of the spread over images and positions), and one that
    element by element is between half and 64 times as large as the spread. Under the strong noise, an activation that
    is off for the images at hand is on for some of it; under the faint one, a gate is not saturated unless it is for
    the images themselves. Own generator: torch's is untouched.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(activations.shape, generator=generator, dtype=torch.float64)
    noise[0::2] *= 0.05
    noise[1::2] *= 2 ** (7 * torch.rand(noise[1::2].shape, generator=generator, dtype=torch.float64) - 1)
    spread = _find_spread(activations.double()).cpu()
    return (activations.double() + (noise * spread).to(activations.device)).to(activations.dtype)


def _find_spread(activations: Tensor) -> Tensor:
    """Standard deviation channel by channel (axis 1 of a map, the last axis of rows); 1 where there is none."""
    axes = (0, *range(2, activations.ndim)) if activations.ndim > 2 else (0,)
    largest = activations.abs().max().clamp_min(torch.finfo(activations.dtype).tiny)  # squares may overflow
    spread = largest * (activations / largest).std(dim=axes, correction=0, keepdim=True)
    return torch.where(spread > 0, spread, torch.ones_like(spread))


def find_channel_features(tail: TailPass, i: int, geometry: LayerGeometry) -> Tensor | Literal["mixed", "flattened"]:
    """Which feature of the classifier each channel of the i-th layer feeds.

    Feature j's cotangent is r_j, then in turn r_j·(1 + digit of j / largest digit): where channel k feeds feature j
    alone, the two gradients' ratio at k, between 1 and 2, spells j digit by digit, whatever lies between. So slices
    (DenseNet), shuffles and concatenations need no rule of their own.

    Args:
        tail: A pass with perturbed activations, of at least two images; the layer runs once in it.
        i: The layer's place in the tail.
        geometry: Of the layer.

    Returns:
        (J,) int64; "flattened" where a channel feeds several features, each position the same one in every image;
        "mixed" where some channel acts on several features in any other way, or may: where nothing shows (a gain of 0)
        through a tail that is more than plain.
    """
    features, n_features = tail.features, tail.features.shape[1]

    def find_slopes(cotangent: Tensor) -> Tensor:
        gradient = tail.differentiate(features, cotangent)[i][0]
        return geometry.channels_first(gradient).double().flatten(2)  # (n_images, J, P)

    tolerance = find_tolerance(features.dtype)
    weights = _draw_weights(features)
    slopes = find_slopes(weights)
    largest = slopes.abs().amax(dim=(0, 2))  # (J,)
    is_seen = largest > 0
    strongest = slopes.abs().transpose(0, 1).flatten(1).argmax(1, keepdim=True)  # (J, 1)
    is_clear = slopes.abs() > 0.01 * largest[:, None]
    # A gate that a gain of 0 hides would be missed.
    if not bool(is_seen.any()) and not TailStructure.of(features.grad_fn).is_plain:
        return "mixed"

    base = _DIGIT_BASE if tolerance < 1e-3 else 2  # what half precision can tell apart
    index = torch.arange(n_features, device=features.device)
    of_channel = torch.zeros_like(strongest[:, 0])
    is_separable = is_flattened = True
    place = 1
    while place < n_features:
        factor = 1 + (index // place % base).double() / (base - 1)
        gradient = find_slopes(weights * factor.to(weights.dtype))
        ratio = torch.where(is_clear, gradient / torch.where(is_clear, slopes, 1), 1)
        digits = ((ratio - 1) * (base - 1)).round().clamp(0, base - 1)
        is_flattened &= bool(((ratio - 1) * (base - 1) - digits).abs().le(100 * tolerance * (base - 1)).all())
        of_position = digits.where(is_clear, -1).amax(0)
        is_flattened &= bool(((digits == of_position) | ~is_clear).all())
        digit_of_channel = digits.transpose(0, 1).flatten(1).gather(1, strongest)[:, 0]
        of_channel += digit_of_channel.long() * place
        leak = (gradient - (1 + digit_of_channel / (base - 1))[:, None] * slopes).abs().amax(dim=(0, 2))
        is_separable &= bool((leak <= tolerance * largest).all())
        place *= base
    if not is_separable:
        return "flattened" if is_flattened and n_features > len(of_channel) else "mixed"
    filled = _fill_unseen(of_channel, is_seen, n_features)
    return "mixed" if filled is None else filled


def follow_features(
    tail: TailPass,
    slopes: Sequence[Sequence[Tensor]],
    factor: int,
    geometries: Sequence[LayerGeometry],
    features_of: Sequence[Tensor | None],
) -> list[bool]:
    """Whether each layer's channels feed the features that they are said to, for the images of this very pass.

    Features times numbers, all of them different, must give slopes times the same.

    Args:
        tail: The pass.
        slopes: The derivatives of the sum of all features, times the factor, in every call of every layer.
        factor: A number.
        geometries: Of its layers.
        features_of: What each channel of a layer feeds, (J,); None for layers that nothing is said of.
    """
    n_features = tail.features.shape[1]
    weights = draw_feature_weights(tail.features)
    weighted = tail.differentiate(tail.features, factor * weights.expand_as(tail.features))
    follows: list[bool] = []
    for i, (geometry, features) in enumerate(zip(geometries, features_of, strict=True)):
        if features is None or int(features.max()) >= n_features:
            follows.append(False)
            continue
        found, plain = (geometry.channels_first(of_layers[i][0]).flatten(2) for of_layers in (weighted, slopes))
        follows.append(is_weighted(found, plain, weights[features], find_tolerance(plain.dtype)))
    return follows


def draw_feature_weights(features: Tensor) -> Tensor:
    """A number for each feature, (n_features,): ±[1, 2), no two the same; signs, as half precision tells few apart."""
    n_features = features.shape[1]
    generator = torch.Generator().manual_seed(n_features)
    signs = 2 * torch.randint(2, (n_features,), generator=generator) - 1
    return (signs * (1 + torch.rand(n_features, generator=generator, dtype=torch.float64))).to(features)


def is_weighted(found: Tensor, plain: Tensor, weights: Tensor, tolerance: float) -> bool:
    """Whether slopes, (n_images, J, P), are others times a number of each channel's, (J,)."""
    error = (found - plain * weights[:, None]).abs().amax((0, 2))
    return bool((error <= tolerance * plain.abs().amax((0, 2))).all())


def check_derivatives(tail: TailPass, names: Sequence[str]) -> list[int]:
    """Refuses a tail whose derivatives are not those of its function, or that does not keep images apart.

    Args:
        tail: A pass with perturbed activations, the first two rows of one image.
        names: Of its layers.

    Returns:
        The places of layers whose derivative is 0 everywhere: what follows them may be cut off, or at rest.

    Raises:
        UnsupportedHeadError: Names the layer.
    """
    values = tail.end
    if not values.requires_grad:
        raise UnsupportedHeadError(
            f"no derivative leads from the model's output back to {', '.join(map(repr, names))} (torch.no_grad or "
            "detach inside the model, or a layer whose output is not used?): nothing can be measured there"
        )
    weights = _draw_weights(values)
    of_all = tail.differentiate(values, weights)
    moves = (tail.logits[0] - tail.logits[1]).detach().abs().max() > 0
    if moves and not any(bool(slopes.any()) for calls in of_all for slopes in calls):
        raise UnsupportedHeadError(
            f"the model's output moves with that of {', '.join(map(repr, names))}, but its derivative is 0: something "
            "between cuts gradients (a quantised layer, detach, a function without derivative?)"
        )
    weights[1:] = 0
    of_first = tail.differentiate(values, weights)
    tolerance = find_tolerance(values.dtype)
    for name, all_calls, first_calls in zip(names, of_all, of_first, strict=True):
        for base, first in zip(all_calls, first_calls, strict=True):
            if bool(first[1:].abs().max() > tolerance * base.abs().max()):
                raise UnsupportedHeadError(
                    f"between {name!r} and the classifier one image's features depend on the other images of the batch "
                    "(a batch norm with track_running_stats=False?): flatness is defined image by image; use running "
                    "statistics"
                )
    return [i for i, calls in enumerate(of_all) if not any(bool(slopes.any()) for slopes in calls)]


def _draw_weights(features: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return (1 + torch.rand(features.shape, generator=generator, dtype=torch.float64)).to(features)


def find_exactness(tail: TailPass, places: Collection[int] | None = None) -> list[Exactness]:
    """Says "hessian" of each layer whose tail is piecewise linear in its output: a second derivative of 0.

    One second derivative of ⟨r, h⟩ serves all layers: with slopes s_l = ∂⟨r, h⟩/∂a_l, Σ_l ⟨s_l, v_l⟩ depends on a_l
    just where something downstream is curved. A layer that runs several times multiplies with itself: nothing is
    claimed.

    Args:
        tail: The pass.
        places: Of the layers that are looked at; of others nothing is claimed. None: all.
    """
    found: list[Exactness] = ["gauss_newton"] * len(tail.calls)
    wanted = [i for i, calls in enumerate(tail.calls) if len(calls) == 1 and (places is None or i in places)]
    end = tail.end
    # A custom function may hide its curvature from autograd: nothing is claimed.
    if not wanted or has_custom_function(end.grad_fn):
        return found
    outputs = [tail.calls[i][0].output for i in wanted]
    generator = torch.Generator().manual_seed(2)

    def draw_like(values: Tensor) -> Tensor:
        """Random numbers, the same for every image."""
        return torch.randn(values.shape[1:], generator=generator).to(values).expand_as(values)

    def differentiate(values: Tensor | list[Tensor], cotangents: Tensor | list[Tensor], again: bool) -> list[Tensor]:
        return list(
            torch.autograd.grad(
                values,
                outputs,
                cotangents,
                create_graph=again,
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
        )

    slopes = [slope for slope in differentiate(end, draw_like(end), True) if slope.requires_grad]
    curvature: list[Tensor] = []
    if slopes:
        try:
            curvature = differentiate(slopes, [draw_like(s) for s in slopes], False)
        except RuntimeError:  # an operation without a second derivative: nothing is known, so nothing is claimed
            return found
    for place, i in enumerate(wanted):
        # Exactly 0: the term left out is as large as the Gauss-Newton part however small the activations are.
        if not curvature or not bool(curvature[place].any()):
            found[i] = "hessian"
    return found


def find_tolerance(dtype: torch.dtype) -> float:
    """Relative error below which two numbers computed in `dtype` along two ways count as equal."""
    return _TOLERANCE.get(dtype, _LOW_PRECISION_TOLERANCE)


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
