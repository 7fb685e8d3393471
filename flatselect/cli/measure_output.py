"""What `flatselect measure` prints for people."""

from collections.abc import Sequence

import click
from rich.table import Table
from rich.text import Text

from flatselect.cli.measured_images import MeasuredImages
from flatselect.cli.output import format_number, make_table, print_table
from flatselect.cli.verification import RTOL, Verification
from flatselect.flatness.measurement import LayerFlatness, Measurement

_HINT = (
    "The smaller, the flatter. Compare networks only where their confidence is alike: flatness falls to 0 as logits "
    "grow, right or wrong."
)
_METHODS = {
    "closed_form": "closed form",
    "class_jacobians": "one backward pass a class",
}
_EXACTNESS = {
    "hessian": "exact: the full Hessian's, for any labels",
    "gauss_newton": "the Gauss-Newton part of the Hessian, which needs no labels",
}


def print_measurement(
    architecture: str, measurement: Measurement, images: MeasuredImages, verification: Verification | None
) -> None:
    """Prints a measurement: one row a layer where there are several, then name and value."""
    layers = measurement.layers
    if len(layers) > 1:
        print_table(_make_layer_table(layers))
        print_table(_make_pairs({"": ""}))
    print_table(_make_pairs(_list_pairs(architecture, measurement, images, verification, n_layers=len(layers))))
    for reason in measurement.refused.values():
        click.echo(f"not measured: {reason}")
    if verification is not None and len(verification.layers) > 1:
        print_table(_make_verification_table(verification))


def _list_pairs(
    architecture: str,
    measurement: Measurement,
    images: MeasuredImages,
    verification: Verification | None,
    n_layers: int,
) -> dict[str, str]:
    of = measurement.companions
    error = format_number(measurement.standard_error, "#.2g")
    part = " of the Gauss-Newton part" if measurement.exactness == "gauss_newton" else ""
    sample = images.sample
    pairs = {
        "network": architecture,
        "layer": f"the sum of {n_layers}" if n_layers > 1 else measurement.layer,
        "relative flatness": f"{_format(measurement.relative_gap_flatness)} ± {error} (standard error)",
        "Hessian trace": f"{_format(measurement.hessian_trace)}{part}",
        "exactness": _EXACTNESS.get(measurement.exactness, measurement.exactness),
        "method": _METHODS.get(measurement.method, measurement.method),
        "images": f"{measurement.n_images} of {images.n_in_set} of {images.spec}, "
        + "×".join(map(str, sample.input_shape)),
        "normalised by": images.constants_from,
        "confidence": f"mean {_format(of['mean_confidence'])}, lowest tenth below {_format(of['confidence_q10'])}",
        "margin of logits": f"median {_format(of['margin_q50'])}, lowest tenth below {_format(of['margin_q10'])}",
        "flatness per softness": f"{_format(of['temperature_flat_ratio'])} (hardly changes as logits grow)",
    }
    if sample.mean is not None and sample.std is not None:
        mean, std = (", ".join(format_number(value, ".3f") for value in values) for values in (sample.mean, sample.std))
        pairs["normalised by"] = f"mean {mean}, std {std} ({images.constants_from})"
    if verification is not None:
        verdict = "agrees with" if verification.agrees else f"DIFFERS (by more than {RTOL:g}) from"
        pairs["verification"] = f"{verdict} brute-force autograd on {verification.n_images} images, in float64"
        if len(verification.layers) == 1:
            (layer,) = verification.layers
            pairs["  relative flatness"] = (
                f"{layer.relative_flatness:.12g}, by brute force {layer.brute_force:.12g}: relative difference "
                f"{layer.relative_difference:.1e}"
            )
            pairs["  Hessian trace"] = (
                f"{layer.hessian_trace:.12g}, by brute force {layer.brute_force_trace:.12g}: relative difference "
                f"{layer.trace_relative_difference:.1e}"
            )
    return pairs | {"reading": _HINT}


def _make_pairs(pairs: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        table.add_row(Text(name), Text(value))
    return table


def _make_layer_table(layers: Sequence[LayerFlatness]) -> Table:
    table = make_table(
        [], "layer", ["relative\nflatness", "standard\nerror", "Hessian\ntrace", "diagonal\nflatness", "exactness"]
    )
    for layer in layers:
        numbers = (layer.relative_flatness, layer.standard_error, layer.hessian_trace, layer.diagonal_flatness)
        table.add_row(Text(layer.layer), *(_format(number) for number in numbers), layer.exactness)
    return table


def _make_verification_table(verification: Verification) -> Table:
    table = make_table(
        [], "layer", ["relative flatness", "by brute force", "relative\ndifference", "of the\nHessian trace"]
    )
    for layer in verification.layers:
        table.add_row(
            Text(layer.layer),
            f"{layer.relative_flatness:.9g}",
            f"{layer.brute_force:.9g}",
            f"{layer.relative_difference:.1e}",
            f"{layer.trace_relative_difference:.1e}",
        )
    return table


def _format(value: float) -> str:
    return format_number(value, "#.4g")
