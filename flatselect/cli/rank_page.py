"""`flatselect rank -o report.html`: what the page says the ranking is made of."""

from datetime import datetime

from flatselect.data.loading import AnySet
from flatselect.search.versions import collect_versions
from flatselect.selection.calibrator import Calibrator
from flatselect.selection.measuring import MOST_TRAIN_IMAGES

# What a group of rows is, by the kind of source that they come from.
_GROUPS = {"study": "trials", "zoo": "settings, each with several networks"}
_SHOWN_VERSIONS = ("flatselect", "torch", "torchvision", "scikit-learn", "python")


def list_facts(
    data: str, train_set: AnySet, n_probe_images: int, seed: int, unlabeled: str | None, calibrator: Calibrator | None
) -> dict[str, str]:
    """What the ranking is made of, in words."""
    shape = "×".join(map(str, train_set.input_shape))
    n = len(train_set)
    sampled = f", training scores on {MOST_TRAIN_IMAGES:,} of them" if n > MOST_TRAIN_IMAGES else ""
    facts = {
        "training images": f"{data}: {n:,} of {shape}, {train_set.n_classes} classes{sampled}",
        "measured on": f"{n_probe_images:,} of them, drawn by class with seed {seed}",
    }
    if unlabeled is not None:
        facts["unlabelled images"] = unlabeled
    if calibrator is None:
        facts["calibrator"] = "none"
    else:
        known = calibrator.describe()
        facts["calibrator"] = (
            f"{calibrator.source}: {known['estimator'].replace('_', ' ')} on {known['n_rows']} rows of "
            f"{known['n_groups']} {_name_groups(calibrator, known['n_groups'])}, "
            f"SHA-256 {calibrator.fingerprint[:16]}…"
        )
    versions = collect_versions()
    facts["versions"] = ", ".join(f"{name} {versions[name]}" for name in _SHOWN_VERSIONS if name in versions)
    facts["made"] = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return facts


def _name_groups(calibrator: Calibrator, n_groups: int) -> str:
    """What the groups of rows are, as far as the artifact says it of all of them."""
    try:
        sources = calibrator.predictor.metadata["sources"]
        kinds = {source["kind"] for source in sources}
        is_of_all = sum(source["n_groups"] for source in sources) == n_groups
    except (TypeError, KeyError):  # metadata is anybody's
        return "groups"
    return _GROUPS.get(kinds.pop(), "groups") if is_of_all and len(kinds) == 1 else "groups"
