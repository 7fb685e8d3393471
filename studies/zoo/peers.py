"""Measures the zoo by other people's packages, for comparison: PyHessian's trace and WeightWatcher's alpha.

    pip install PyHessian weightwatcher matplotlib-inline
    python studies/zoo/peers.py zoo --mnist FOLDER [--part 0/2]
    python studies/zoo/measure.py zoo --mnist FOLDER --output studies/zoo/table.csv   # takes them into the table

- pyhessian_trace: Hutchinson's estimate of the trace of the Hessian of all parameters on the first 128 probe images, at
  most 100 probes, at PyHessian's own tolerance;
- weightwatcher_alpha: the mean over layers of the power-law exponent, of layers with eight eigenvalues or more.
"""

import json
import logging
import math
import warnings
from typing import Any

import torch
from environments import Environment
from measure import PEERS_SUFFIX, draw_probe
from networks import draw_candidate
from rivals import N_TRACE_IMAGES
from torch import nn
from train import iterate_networks, make_parser, read_roots

from flatselect.training.building import build_candidate
from flatselect.training.checkpoint import load_checkpoint

_LEAST_EIGENVALUES = 8


def main() -> None:
    options = make_parser(__doc__).parse_args()
    torch.set_num_threads(options.threads)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    roots = read_roots(options)
    for environment, number, path in iterate_networks(options):
        measured = path.with_suffix(PEERS_SUFFIX)
        if path.exists() and not measured.exists():
            train, _ = environment.load(roots)
            measured.write_text(
                json.dumps(measure_by_peers(environment, number, load_checkpoint(path)["model"], train))
            )
            print(f"{path.name} measured", flush=True)


def measure_by_peers(environment: Environment, number: int, weights: dict[str, Any], train: Any) -> dict[str, float]:
    import weightwatcher  # here, so that everything else does without
    from pyhessian import hessian

    model = build_candidate(draw_candidate(environment, number), train, seed=0)
    model.load_state_dict(weights)
    model.eval()
    probe = draw_probe(environment, train)
    torch.manual_seed(0)
    of_hessian = hessian(
        model, nn.CrossEntropyLoss(), data=(probe.images[:N_TRACE_IMAGES], probe.labels[:N_TRACE_IMAGES]), cuda=False
    )
    traces = of_hessian.trace()
    layers = weightwatcher.WeightWatcher(model=model).analyze(min_evals=_LEAST_EIGENVALUES)
    alphas = [alpha for alpha in layers.get("alpha", []) if alpha is not None and math.isfinite(alpha)]
    return {
        "pyhessian_trace": float(sum(traces) / len(traces)),
        "weightwatcher_alpha": sum(alphas) / len(alphas) if alphas else math.nan,
    }


if __name__ == "__main__":
    main()
