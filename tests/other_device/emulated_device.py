"""A device besides the CPU, emulated: what is on it says so, is computed by the CPU, and does not mix with what is not.

It stands in for a GPU where there is none, to see that everything a computation needs is moved there. It says nothing
of a GPU's kernels, their rounding or their speed. PyTorch takes one such backend a process, and for good: this is for a
process of its own.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
# As on a GPU: copies go from one device to the other, and indices may lie on the CPU.
_ACROSS = (aten.copy_, aten._to_copy, aten._copy_from, aten.index, aten.index_put, aten.index_put_)
_FACTORIES = (
    aten.arange.default, aten.arange.start, aten.arange.start_step, aten.empty.memory_format,
    aten.empty_strided.default, aten.eye.default, aten.eye.m, aten.full.default, aten.linspace.default,
    aten.randperm.default,
)  # fmt: skip


class _Module(backend_registration._DummyBackendModule):
    """What PyTorch asks of a device's module."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def get_rng_state(self, device: object = None) -> Tensor:
        return torch.empty(0, dtype=torch.uint8)

    def set_rng_state(self, state: Tensor, device: object = None) -> None:
        pass

    def manual_seed_all(self, seed: int) -> None:
        pass

    def _is_in_bad_fork(self) -> bool:
        return False


backend_registration._setup_privateuseone_for_python_backend("elsewhere", backend_module=_Module())
DEVICE = torch.device("elsewhere:0")


class TensorElsewhere(Tensor):
    """A tensor on the device; `held` is its numbers, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "TensorElsewhere":
        tensor = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        tensor.held = held
        return tensor

    def __repr__(self) -> str:
        return f"{self.held!r} on {DEVICE}"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {})


def _run(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    elsewhere = [tensor for tensor in tensors if isinstance(tensor, TensorElsewhere)]
    is_mixed = len(elsewhere) < sum(isinstance(tensor, TensorElsewhere) or tensor.ndim > 0 for tensor in tensors)
    if elsewhere and is_mixed and operation.overloadpacket not in _ACROSS:
        raise RuntimeError(f"{operation}: expected all tensors on {DEVICE}, some are on the CPU")
    if operation.overloadpacket in (aten.index, aten.index_put_) and not isinstance(args[0], TensorElsewhere):
        raise RuntimeError(f"{operation}: a tensor on the CPU with indices or values on {DEVICE}")
    wanted = kwargs.get("device")
    stays = bool(elsewhere) if wanted is None else torch.device(wanted).type == DEVICE.type
    if operation.overloadpacket is aten.copy_:
        stays = isinstance(args[0], TensorElsewhere)
    if wanted is not None:
        kwargs = kwargs | {"device": "cpu"}
    results = operation(*tree_map(_hold, args), **tree_map(_hold, kwargs))
    # What worked in place gives its own argument back.
    own = {id(tensor.held): tensor for tensor in elsewhere}

    def place(result: Any) -> Any:
        if not stays or not isinstance(result, Tensor):
            return result
        return own[id(result)] if id(result) in own else TensorElsewhere(result)

    return tree_map(place, results)


def _hold(value: Any) -> Any:
    return value.held if isinstance(value, TensorElsewhere) else value


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    _hold(target).copy_(_hold(source))
    return target


def _make_factory(operation: Any) -> Callable[..., TensorElsewhere]:
    def make(*args: Any, **kwargs: Any) -> TensorElsewhere:
        return TensorElsewhere(operation(*args, **{**kwargs, "device": "cpu", "pin_memory": False, "layout": None}))

    return make


_kernels = torch.library.Library("aten", "IMPL")
for _factory in _FACTORIES:
    _kernels.impl(_factory, _make_factory(_factory), "PrivateUse1")
_kernels.impl("_copy_from", _copy_from, "PrivateUse1")
_all_others = torch.library.Library("_", "IMPL")
_all_others.fallback(lambda operation, *args, **kwargs: _run(operation, args, kwargs), "PrivateUse1")


def bring_home(content: Any) -> Any:
    """A state with its tensors on the CPU."""
    return tree_map(lambda leaf: leaf.detach().held if isinstance(leaf, TensorElsewhere) else leaf, content)


def take_there(content: Any) -> Any:
    """A state with its tensors on the device."""
    return tree_map(lambda leaf: TensorElsewhere(leaf) if isinstance(leaf, Tensor) else leaf, content)
