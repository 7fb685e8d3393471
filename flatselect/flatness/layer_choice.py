"""The layers that a user asks for, by name."""

import difflib
from collections.abc import Sequence
from typing import Literal

from torch import nn

from flatselect.errors import UnsupportedHeadError
from flatselect.flatness.layer_calls import LAYER_TYPES, RecordedRun, check_call

Wanted = Literal["all"] | tuple[str, ...] | None


def read_wanted(layer: str | None, layers: str | Sequence[str] | None) -> Wanted:
    """The names that were asked for, "all", or None.

    Raises:
        UnsupportedHeadError: Both were given, or something that is not names.
    """
    if layer is not None and layers is not None:
        raise UnsupportedHeadError(f"layer={layer!r} and layers={layers!r} were both given; expected one of the two")
    if layers == "all":
        return "all"
    given = layer if layer is not None else layers
    if given is None:
        return None
    names = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, (list, tuple)) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise UnsupportedHeadError(f"layers={given!r}; expected names of layers as in model.named_modules(), or 'all'")
    return names


def find_by_name(
    model: nn.Module, run: RecordedRun, wanted: Literal["all"] | tuple[str, ...], n_images: int
) -> tuple[list[str], dict[str, str]]:
    """The layers asked for, in the order they run, and why others of all are left out.

    Raises:
        UnsupportedHeadError: A name is not that of a convolution or linear layer that runs, or none can be measured.
    """
    ran = list(dict.fromkeys(call.name for call in run.calls))
    if wanted == "all":
        refused: dict[str, str] = {}
        for name in ran:
            try:
                check_layer(model, run, name, n_images, is_named=True)
            except UnsupportedHeadError as error:
                refused[name] = str(error)
        names = [name for name in ran if name not in refused]
        if not names:
            raise UnsupportedHeadError(
                "no layer of this model can be measured: " + ("; ".join(refused.values()) or "it has none")
            )
        return names, refused
    names_of = {module: name for name, module in model.named_modules()}
    modules = dict(model.named_modules(remove_duplicate=False))
    wanted = tuple(names_of[modules[alias]] if alias in modules else alias for alias in wanted)
    for name in wanted:
        if name not in ran:
            if isinstance(modules.get(name), LAYER_TYPES):
                raise UnsupportedHeadError(
                    f"layer={name!r} does not run in the model's forward pass (another module, such as an attention, "
                    "may work with its weight)"
                )
            near = difflib.get_close_matches(name, ran, n=3) or ran[-3:]
            given = f"is of type {type(modules[name]).__name__}" if name in modules else "is not in the model"
            raise UnsupportedHeadError(
                f"layer={name!r} {given}; expected the name of a convolution or linear layer, such as {', '.join(near)}"
            )
    return [name for name in ran if name in wanted], {}


def check_layer(model: nn.Module, run: RecordedRun, name: str, n_images: int, *, is_named: bool) -> None:
    """Refuses a layer that cannot be measured.

    Args:
        model: Undisturbed.
        run: One pass.
        name: Of the layer.
        n_images: In that pass.
        is_named: Whether the user asked for it: then it may run several times.

    Raises:
        UnsupportedHeadError: Names the layer and the reason.
    """
    calls = [call for call in run.calls if call.name == name]
    if name in run.used_outside:
        raise UnsupportedHeadError(
            f"{calls[0]} is not the only place where its weight acts: the model uses it elsewhere too, which is not "
            "covered"
        )
    for call in calls:
        check_call(model, call, n_images)
    if len(calls) > 1 and not is_named:
        raise UnsupportedHeadError(
            f"the last convolution {calls[0]} runs {len(calls)} times in one forward pass: its weight acts in several "
            f"places, which the closed form does not cover; {say_how_to_name(name)}",
            name,
        )


def say_how_to_name(name: str) -> str:
    """What still measures a layer that the closed form does not cover."""
    return f"layer={name!r} measures it all the same, exactly, at the price of one backward pass a class"
