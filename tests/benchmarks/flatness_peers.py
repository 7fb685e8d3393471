"""The Hessian trace of the last convolution by other packages, beside `measure`: seconds and error on the same images.

python tests/benchmarks/flatness_peers.py [--model resnet18] [--size 64] [--images 256] [--device cpu] [--threads 1]

The peers are optional; those installed are run:

    pip install --no-deps PyHessian backpack-for-pytorch curvlinops-for-pytorch einops einconv unfoldNd linear_operator

(`--no-deps`, as some pin an older torch; einops, einconv, unfoldNd and linear_operator are what theirs need.) Each is
given what is best for it: only that layer's weight has a gradient, so that no more than the network's tail is
differentiated, and labels are the model's own predictions (the Hessian of a network that is piecewise linear after its
last convolution does not depend on them). None but the brute force can give κ, which needs the Hessian's blocks of
pairs of kernel rows.
"""

import argparse
import copy
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from flatness import Setting, add_setting_options, describe_machine, forward_plain, print_table, time_alternately
from torch import Tensor, nn

from flatselect import measure
from flatselect.flatness import find_head

PACKAGES = "PyHessian backpack-for-pytorch curvlinops-for-pytorch einops einconv unfoldNd linear_operator"


@dataclass(frozen=True)
class Problem:
    """One layer of one network on some images; only its weight has a gradient."""

    model: nn.Module
    convolution: nn.Conv2d
    images: Tensor  # (n_images, 3, size, size)
    labels: Tensor  # (n_images,)
    batch: int

    @classmethod
    def of(cls, model: nn.Module, images: Tensor, batch: int) -> "Problem":
        convolution = find_head(model, images[:2]).layers[0].module
        assert isinstance(convolution, nn.Conv2d)
        model.requires_grad_(False)
        convolution.weight.requires_grad_()
        with torch.no_grad():
            labels = torch.cat([model(part).argmax(1) for part in images.split(batch)])
        return cls(model, convolution, images, labels, batch)

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self.images.split(self.batch), self.labels.split(self.batch), strict=True))

    def take(self, n_images: int) -> "Problem":
        return Problem(self.model, self.convolution, self.images[:n_images], self.labels[:n_images], self.batch)


@dataclass(frozen=True)
class Estimate:
    """What a method gives: the trace, κ where it can, and whose standard error."""

    trace: float
    flatness: float = math.nan
    error_over: str = "-"


def run_measure(problem: Problem) -> Estimate:
    result = measure(problem.model, problem.images, batch_size=problem.batch)
    return Estimate(result.hessian_trace, result.relative_gap_flatness, "images")


def run_autograd(problem: Problem) -> Estimate:
    """C backward passes an image: κ = Σ_c p_c ‖Kᵀ(T_c − T̄)‖², Tr H = Σ_c p_c ‖T_c − T̄‖², with T_c = ∂z_c/∂K."""
    weight = problem.convolution.weight
    rows = weight.detach().flatten(1)
    kernel_gram = rows @ rows.mT  # ‖KᵀT‖² = ⟨KKᵀT, T⟩: the J×J product is the cheaper one where J < d
    flatness = trace = 0.0
    for image in problem.images:
        with torch.enable_grad():
            logits = problem.model(image[None])[0]
        gradients = torch.stack([torch.autograd.grad(z, weight, retain_graph=True)[0].flatten(1) for z in logits])
        p = logits.detach().softmax(0)
        gradients -= torch.einsum("c,cjd->jd", p, gradients)
        trace += float((p * gradients.square().sum((1, 2))).sum())
        flatness += float((p * ((kernel_gram @ gradients) * gradients).sum((1, 2))).sum())
    return Estimate(trace / len(problem.images), flatness / len(problem.images), "images")


def run_pyhessian(problem: Problem, n_probes: int) -> Estimate:
    """Hutchinson; all images in one batch, whose graph it keeps and uses again for every probe."""
    from pyhessian import hessian

    data = (problem.images, problem.labels)
    operator = hessian(problem.model, nn.CrossEntropyLoss(), data=data, cuda=problem.images.is_cuda)
    trace = float(np.mean(operator.trace(maxIter=n_probes, tol=0)))
    problem.convolution.weight.grad = None
    return Estimate(trace, error_over="probes")


def run_curvlinops(problem: Problem, n_products: int, operator_name: str, estimator_name: str) -> Estimate:
    import curvlinops

    operator = getattr(curvlinops, operator_name)(
        problem.model,
        nn.CrossEntropyLoss(),
        [problem.convolution.weight],
        problem.batches(),
        check_deterministic=False,
    )
    return Estimate(float(getattr(curvlinops, estimator_name)(operator, n_products)))


def run_backpack(problem: Problem, batch: int) -> Estimate:
    """The exact diagonal of JᵀΛJ; in small batches, as it holds C gradients of every image."""
    from backpack import backpack, extend
    from backpack.extensions import DiagGGNExact

    layer = next(name for name, module in problem.model.named_modules() if module is problem.convolution)
    model = copy.deepcopy(problem.model)
    for module in model.modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.inplace = False
    model, loss = extend(model, use_converter=True).eval(), extend(nn.CrossEntropyLoss(reduction="sum"))
    weight = model.get_submodule(layer).weight
    trace = 0.0
    for images, labels in zip(problem.images.split(batch), problem.labels.split(batch), strict=True):
        with backpack(DiagGGNExact()):
            loss(model(images), labels).backward()
        trace += float(weight.diag_ggn_exact.sum())
        weight.grad = None
    return Estimate(trace / len(problem.images))


def run_row(
    name: str, run: Callable[[Problem], Estimate], problem: Problem, repeats: int, forward: float, exact: Estimate
) -> list[str]:
    """One row of the table; a peer that is missing or fails says so in it, and why above it."""
    estimates: list[Estimate] = []
    try:
        run(problem.take(2))  # so that libraries are loaded and their plans made
        seconds = time_alternately(
            {name: lambda: estimates.append(run(problem))}, problem.images.device, repeats, uncounted=0
        )
    except ImportError as error:
        print(f"{name}: {error}; pip install --no-deps {PACKAGES}")
        return [name, "not installed"]
    except Exception as error:  # noqa: BLE001 - a peer may fail in any way; its reason is what to print
        print(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:240]}")
        return [name, "fails"]
    estimate = estimates[-1]
    gives_flatness = math.isfinite(estimate.flatness)
    return [
        name,
        f"{min(seconds[name]):.3f}",
        f"{min(seconds[name]) / forward:.2f}",
        f"{estimate.trace:.6g}",
        f"{abs(estimate.trace / exact.trace - 1):.1e}",
        f"{estimate.flatness:.6g}" if gives_flatness else "-",
        f"{abs(estimate.flatness / exact.flatness - 1):.1e}" if gives_flatness else "-",
        estimate.error_over,
    ]


def compare_with_peers(
    setting: Setting, n_images: int, n_probes: int = 100, backpack_batch: int = 8, repeats: int = 1
) -> None:
    """Prints the table: seconds, what they are beside a forward pass over the same images, and errors.

    Args:
        setting: What is run, of at least as many images.
        n_images: How many.
        n_probes: Hessian-vector products of the stochastic estimators.
        backpack_batch: Images of a batch for BackPACK, which keeps much for each.
        repeats: The fewest seconds count.
    """
    warnings.filterwarnings("ignore")  # of the peers: deprecated functions, graphs kept by `create_graph`
    model, images = setting.make()
    problem = Problem.of(model, images.flatten(0, 1)[:n_images], setting.batch)
    reference = Problem.of(copy.deepcopy(model).double(), problem.images.double(), setting.batch)
    exact = run_measure(reference)
    print(f"{setting.model}, {n_images} images of {setting.size}×{setting.size}, {setting.classes} classes; ", end="")
    print(f"weight {tuple(problem.convolution.weight.shape)}; float64: trace {exact.trace:.8g}, κ {exact.flatness:.8g}")

    forward_batches = list(problem.images.split(setting.batch))
    seconds = time_alternately({"forward": lambda: forward_plain(model, forward_batches)}, images.device, 3)
    forward = min(seconds["forward"])
    third = 3 * (n_probes // 3)  # Hutch++ splits its products in three
    methods: dict[str, Callable[[Problem], Estimate]] = {
        "flatselect measure": run_measure,
        "autograd, C backward passes an image": run_autograd,
        f"PyHessian Hutchinson, {n_probes} probes": partial(run_pyhessian, n_probes=n_probes),
        f"BackPACK DiagGGNExact, batches of {backpack_batch}": partial(run_backpack, batch=backpack_batch),
    }
    for operator, estimator, n in (
        ("Hessian", "hutchinson_trace", n_probes),
        ("Hessian", "hutchpp_trace", third),
        ("GGN", "hutchpp_trace", third),
    ):
        methods[f"curvlinops {operator}, {estimator}, {n} products"] = partial(
            run_curvlinops, operator_name=f"{operator}LinearOperator", estimator_name=estimator, n_products=n
        )
    header = ["method", "seconds", "× forward", "trace", "rel. error", "κ", "rel. error", "standard error over"]
    rows = [["forward pass, no gradients", f"{forward:.3f}", "1.00"]]
    for name, run in methods.items():
        print(f"running {name}", file=sys.stderr, flush=True)
        rows.append(run_row(name, run, problem, repeats, forward, exact))
    print_table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_setting_options(parser, size=64)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--probes", type=int, default=100, help="Hessian-vector products of the stochastic estimators")
    parser.add_argument("--backpack-batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=1)
    options = vars(parser.parse_args())
    n_images, n_probes, backpack_batch, repeats = (
        options.pop(name) for name in ("images", "probes", "backpack_batch", "repeats")
    )
    setting = Setting(**options, batches=-(-n_images // options["batch"]))
    print(describe_machine(setting))
    compare_with_peers(setting, n_images, n_probes, backpack_batch, repeats)


if __name__ == "__main__":
    main()
