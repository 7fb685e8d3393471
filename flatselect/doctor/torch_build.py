"""torch, the torchvision that goes with it, and the GPUs that it sees.

torch is imported in the checks: a broken one is what they are to tell.
"""

import shutil

from flatselect.doctor.finding import Finding, Verdict

_TORCH = "torch"
_GPU = "GPU"
_GIB = 2**30


def check_torch() -> Finding:
    """Whether torch and torchvision import together, and are of one build."""
    try:
        import torch
        import torchvision
    except (ImportError, OSError, RuntimeError) as error:  # a missing library; operators of another torch
        return Finding(
            _TORCH,
            "problem",
            f"torch and torchvision do not import: {_first_line(error)}",
            "install both from the same place: pip install --force-reinstall torch torchvision",
        )
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    return Finding(_TORCH, "ok", f"torch {torch.__version__} ({build} build), torchvision {torchvision.__version__}")


def check_gpu(gpus_per_trial: float | None = None) -> Finding:
    """Whether torch can compute on this machine's GPUs.

    Args:
        gpus_per_trial: What the study asks for, where trials run on this machine; None where it does not say.
    """
    import torch

    if torch.cuda.is_available():
        try:
            return Finding(_GPU, "ok", "; ".join(_describe_gpu(index) for index in range(torch.cuda.device_count())))
        except RuntimeError as error:
            return Finding(
                _GPU, "problem", f"torch cannot compute on it: {_first_line(error)}", "update the NVIDIA driver"
            )
    if shutil.which("nvidia-smi"):
        reason = "torch is a CPU build" if torch.version.cuda is None else "the driver is too old or not loaded"
        remedy = "compare nvidia-smi with what the torch build needs; or train on the CPU: --gpus-per-trial 0"
        verdict: Verdict = "problem" if gpus_per_trial else "warning"
        return Finding(_GPU, verdict, f"this machine has NVIDIA's tools, but torch sees no GPU: {reason}", remedy)
    if gpus_per_trial:
        found = f"gpus_per_trial = {gpus_per_trial:g}, but torch sees no GPU here"
        return Finding(_GPU, "problem", found, "set it to 0 to train on the CPU, or give --ray-address of a cluster")
    return Finding(_GPU, "ok", "none; trials train on the CPU")


def _describe_gpu(index: int) -> str:
    import torch

    torch.ones(1, device=f"cuda:{index}").sum().item()  # what torch sees may still be too old to compute on
    free, total = torch.cuda.mem_get_info(index)
    return f"{torch.cuda.get_device_name(index)}, {free / _GIB:.1f} of {total / _GIB:.1f} GiB free"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
