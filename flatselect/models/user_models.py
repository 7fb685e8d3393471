"""Models from the user's own code: `module:function`."""

import difflib
import importlib
import importlib.util
import inspect
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from flatselect.errors import ModelError


def build_user_model(
    spec: str, args: Mapping[str, Any], input_shape: tuple[int, int, int], n_classes: int
) -> nn.Module:
    """Calls a user's factory.

    Of n_classes, num_classes, in_channels and input_shape it is given those that its signature names; one that takes
    any keyword (`**kwargs`) and names no number of classes also gets n_classes, and likewise in_channels. `args` win.

    Args:
        spec: `module:function`, imported as Python finds it.
        args: Keyword arguments of the study.
        input_shape: (channels, height, width).
        n_classes: Logits.

    Raises:
        ModelError: The module or the function is missing, the arguments do not fit, it raises, or it returns no module.
    """
    factory = _import_factory(spec)
    offered = {
        "n_classes": n_classes,
        "num_classes": n_classes,
        "in_channels": input_shape[0],
        "input_shape": input_shape,
    }
    try:
        signature = inspect.signature(factory)
    except ValueError as error:
        raise ModelError(f"{spec}: {error}; expected a function or class written in Python") from None
    arguments = {**_choose_accepted(signature, offered), **args}
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ModelError(
            f"{spec} cannot be called with {_describe_call(arguments)}: {error}; adapt the model's args"
        ) from None
    try:
        model = factory(**arguments)
    except Exception as error:
        raise ModelError(f"{spec}({_describe_call(arguments)}) raised {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{spec} returned {type(model).__name__}; expected a torch.nn.Module")
    return model


def find_own_module(name: str) -> Path | None:
    """The file or package folder that a model's `module:function` comes from.

    None where the model is no user's own, or its module is installed: then the workers have it, too.
    """
    source, _, function = name.partition(":")
    if not function or source in ("torchvision", "timm"):
        return None
    found = importlib.util.find_spec(source.partition(".")[0])
    if found is None or found.origin is None:
        return None
    path = Path(found.origin)
    if any(path.is_relative_to(folder) for folder in sysconfig.get_paths().values()):
        return None
    return path.parent if found.submodule_search_locations else path


def _import_factory(spec: str) -> Callable[..., Any]:
    module_name, _, function_name = spec.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ModelError(
                f"{spec}: no module named {error.name!r}; expected one that Python can import, "
                "from the working folder or installed"
            ) from None
        raise ModelError(f"{spec}: module {module_name!r} needs {error.name!r}, which is not installed") from error
    except Exception as error:
        raise ModelError(f"{spec}: importing {module_name!r} raised {type(error).__name__}: {error}") from error
    factory: Callable[..., Any] | None = getattr(module, function_name, None)
    if not callable(factory):
        functions = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        near = difflib.get_close_matches(function_name, functions, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(functions)) or 'none'}"
        raise ModelError(f"{spec}: module {module_name!r} has no function {function_name!r}; {hint}")
    return factory


def _choose_accepted(signature: inspect.Signature, offered: dict[str, Any]) -> dict[str, Any]:
    parameters = signature.parameters
    named = {
        name
        for name, parameter in parameters.items()
        if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }
    accepted = named & offered.keys()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        accepted |= {"n_classes"} if not accepted & {"n_classes", "num_classes"} else set()
        accepted |= {"in_channels"} if not accepted & {"in_channels", "input_shape"} else set()
    return {name: value for name, value in offered.items() if name in accepted}


def _describe_call(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items()) or "no arguments"
