"""Rivals of flatness, measured for comparison only: sharpness by gradients, the trace of all, weight spectra."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

SAM_RADIUS = 0.05
N_TRACE_PROBES = 5
N_TRACE_IMAGES = 128
_LEAST_EIGENVALUES = 8


def measure_rivals(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> dict[str, float]:
    """Measures by name, of a network in evaluation mode; lower is said to be better of all.

    - sam_sharpness: L(w + ρ·g/‖g‖) − L(w) with g the gradient and ρ = 0.05 (Foret et al. 2021);
    - hessian_trace_of_all: Tr H of all parameters by Hutchinson's estimate (as PyHessian does), 5 probes on the first
      128 images;
    - spectral_alpha: mean over layers of the exponent of the power law that the largest eigenvalues of WᵀW follow
      (Martin & Mahoney 2021, WeightWatcher's alpha), by maximum likelihood with the cut of the least Kolmogorov-Smirnov
      distance (Clauset et al. 2009).
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return {
        "sam_sharpness": _measure_sharpness(model, parameters, images, labels),
        "hessian_trace_of_all": _estimate_trace(
            model, parameters, images[:N_TRACE_IMAGES], labels[:N_TRACE_IMAGES], seed
        ),
        "spectral_alpha": _measure_alpha(model),
    }


def _measure_sharpness(model: nn.Module, parameters: list[nn.Parameter], images: Tensor, labels: Tensor) -> float:
    loss = functional.cross_entropy(model(images), labels)
    gradients = torch.autograd.grad(loss, parameters)
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    with torch.no_grad():
        steps = [SAM_RADIUS * gradient / (norm + 1e-12) for gradient in gradients]
        for parameter, step in zip(parameters, steps, strict=True):
            parameter.add_(step)
        sharp = functional.cross_entropy(model(images), labels)
        for parameter, step in zip(parameters, steps, strict=True):
            parameter.sub_(step)
    return sharp.item() - loss.item()


def _estimate_trace(
    model: nn.Module, parameters: list[nn.Parameter], images: Tensor, labels: Tensor, seed: int
) -> float:
    generator = torch.Generator().manual_seed(seed)
    loss = functional.cross_entropy(model(images), labels)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    estimates = []
    for _ in range(N_TRACE_PROBES):
        signs = [2.0 * torch.randint(0, 2, p.shape, generator=generator) - 1 for p in parameters]
        products = torch.autograd.grad(gradients, parameters, signs, retain_graph=True)
        estimates.append(sum((v * h).sum().item() for v, h in zip(signs, products, strict=True)))
    return float(np.mean(estimates))


def _measure_alpha(model: nn.Module) -> float:
    alphas = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            matrix = module.weight.detach().flatten(1).double()
            eigenvalues = torch.linalg.svdvals(matrix).square().sort().values.numpy()
            if len(eigenvalues) >= _LEAST_EIGENVALUES:
                alphas.append(_fit_power_law(eigenvalues[eigenvalues > 1e-12]))
    return float(np.mean(alphas)) if alphas else float("nan")


def _fit_power_law(values: np.ndarray) -> float:
    """The exponent α of p(x) ∝ x^−α above the cut where the fit is nearest; `values` ascending."""
    best = (np.inf, np.nan)
    for cut in range(len(values) - 3):
        tail = values[cut:]
        logs = np.log(tail / tail[0]).sum()
        if logs <= 0:
            continue
        alpha = 1 + len(tail) / logs
        fitted = 1 - (tail / tail[0]) ** (1 - alpha)
        best = min(best, (float(np.abs(fitted - np.arange(len(tail)) / len(tail)).max()), float(alpha)))
    return best[1]
