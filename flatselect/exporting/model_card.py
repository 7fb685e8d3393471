"""A model card as Hugging Face's Hub shows it: what was measured, what is only predicted, and how to use the model."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flatselect.errors import ExportError
from flatselect.exporting.trial_model import TrialModel
from flatselect.markdown import escape_markdown
from flatselect.models.factories import is_own_code
from flatselect.models.weight_files import IN_FOLDER
from flatselect.records import EpochMeasurement, Interval, Prediction
from flatselect.store.study_reader import RunRecord, StudyReader

_MOST_CLASSES = 50
_TASK = "image-classification"


def make_model_card(reader: StudyReader, model: TrialModel) -> str:
    """The card's text: a YAML block of metadata, then Markdown.

    The license is left to the user. A predicted score is of the metric `predicted_accuracy`, so that no program takes
    it for a measured one. Host names and paths are left out.

    Args:
        reader: Of the model's study.
        model: Whose weights lie beside the card in `model.safetensors`.

    Raises:
        ExportError: huggingface_hub is not installed, or nothing was measured of the model.
        StoreError: The database cannot be read.
    """
    measured, predicted = _find_figures(model)
    stored = reader.latest_calibrator()
    calibration = stored[2] if stored is not None and predicted is not None else None
    audited = reader.audits().get(model.trial.number) if _is_trial_itself(model) else None
    run = _find_run(reader, model.trial.number)
    title = f"{reader.name()}, trial {model.trial.number}"
    mean, std = model.constants or (None, None)
    body = (
        _make_environment()
        .get_template("model_card.md.jinja")
        .render(
            model=model,
            title=title,
            study=reader.name(),
            measured=measured,
            exactness=(measured.exactness or "").replace("_", "-"),
            predicted=predicted,
            calibration=calibration,
            audited=audited,
            audit_data=_shorten_data_name(str(model.config.data.audit)),
            average=None if _is_trial_itself(model) else ", ".join(map(str, model.average.trials)),  # type: ignore[union-attr]
            epoch_differs=measured.epoch != model.epoch,
            n_classes=len(model.content["class_names"]),
            class_names=_list_class_names(model.content["class_names"]),
            code=Markup(_make_code(model)),
            input_shape="×".join(map(str, model.input_shape)),
            mean=mean and ", ".join(map(str, mean)),
            std=std and ", ".join(map(str, std)),
            data_name=_shorten_data_name(model.data["name"]),
            n_trials=len(reader.trials(include_audits=False)),
            seconds=f"{model.trial.seconds:.0f}",
            hardware=_describe_hardware(model, run),
            hyper_parameters=list(_list_hyper_parameters(model)),
            versions=sorted((run.versions if run else model.content["provenance"]["versions"]).items()),
        )
    )
    metadata = _make_metadata(model, title, measured, predicted, calibration, audited)
    return f"---\n{metadata}\n---\n\n{body}"


def _find_figures(model: TrialModel) -> tuple[EpochMeasurement, Prediction | None]:
    if model.average is not None:
        return model.average.result.measurement, model.average.result.prediction
    if model.trial.measurement is None:
        raise ExportError(
            f"trial {model.trial.number}: nothing was measured of it, so there is nothing to say in a card"
        )
    return model.trial.measurement, model.trial.prediction


def _is_trial_itself(model: TrialModel) -> bool:
    return model.average is None or len(model.average.trials) == 1


def _find_run(reader: StudyReader, trial: int) -> RunRecord | None:
    """The run that ended the trial: it says what it was trained with."""
    uids = [attempt.run_uid for attempt in reader.attempts() if attempt.trial_number == trial]
    return next((run for run in reader.runs() if uids and run.uid == uids[-1]), None)


def _describe_hardware(model: TrialModel, run: RunRecord | None) -> str:
    ray = model.config.ray
    if run is None:
        return ""
    if run.backend == "inline":
        return "one process"
    gpus = "a GPU if there was one" if ray.gpus_per_trial is None else f"{ray.gpus_per_trial:g} GPUs"
    return f"{ray.cpus_per_trial:g} CPUs and {gpus}, a worker of Ray"


def _list_hyper_parameters(model: TrialModel) -> Iterator[tuple[str, Any, bool]]:
    candidate, searched = model.candidate, model.trial.params
    training = candidate.training.model_dump(exclude_none=True)
    is_idle = {
        "momentum": training["optimizer"] != "sgd",
        "nesterov": training["optimizer"] != "sgd",
        "step_epochs": training["schedule"] != "step",
        "step_factor": training["schedule"] != "step",
        "flatness_penalty_images": not training["flatness_penalty"],
    }
    training = {name: value for name, value in training.items() if not is_idle.get(name)}
    values = {"model": candidate.model, **candidate.model_args, **training, "augmentation": candidate.augmentation}
    for name in sorted(values, key=lambda name: name not in searched):
        yield name, values[name], name in searched


def _list_class_names(names: list[str]) -> str:
    rest = len(names) - _MOST_CLASSES
    return ", ".join(names[:_MOST_CLASSES]) + (f", and {rest} more (config.json has them)" if rest > 0 else "")


def _shorten_data_name(name: str) -> str:
    """`folder:/home/ann/photos` as `folder:photos`: where it lay is nobody's business."""
    kind, colon, place = name.partition(":")
    return f"{kind}{colon}{place.replace(chr(92), '/').rstrip('/').rpartition('/')[2]}"


def _make_code(model: TrialModel) -> str:
    name, shape = model.candidate.model, model.input_shape
    factory = f", factory={name!r}" if is_own_code(name) else ""
    lines = [
        "import flatselect",
        "import torch",
        "",
        f'model = flatselect.load("{IN_FOLDER}"{factory})  # pip install "flatselect[safetensors]"',
    ]
    if model.constants is None:
        lines += [f"images = torch.rand(1, {', '.join(map(str, shape))})  # your images, as the training images were"]
    else:
        mean, std = (list(values) for values in model.constants)
        lines += [
            f"mean = torch.tensor({mean}).view(1, -1, 1, 1)",
            f"std = torch.tensor({std}).view(1, -1, 1, 1)",
            f"pixels = torch.randint(256, (1, {', '.join(map(str, shape))}))  # your images, of 0 to 255",
            "images = (pixels / 255 - mean) / std",
        ]
    return "\n".join(
        [*lines, "with torch.no_grad():", "    logits = model(images)", "print(model.class_names[logits[0].argmax()])"]
    )


def _make_metadata(
    model: TrialModel,
    title: str,
    measured: EpochMeasurement,
    predicted: Prediction | None,
    calibration: Mapping[str, Any] | None,
    audited: float | None,
) -> str:
    try:
        from huggingface_hub import EvalResult, ModelCardData
    except ModuleNotFoundError:
        raise ExportError(
            "a model card needs huggingface_hub, which is not installed: pip install 'flatselect[hub]'"
        ) from None

    def make_result(data: str, split: str, metric: str, name: str, value: float, **more: Any) -> EvalResult:
        return EvalResult(
            task_type=_TASK,
            dataset_type=data,
            dataset_name=data,
            dataset_split=split,
            metric_type=metric,
            metric_name=name,
            metric_value=value,
            **more,
        )

    data, revision = _shorten_data_name(model.data["name"]), {"dataset_revision": model.data["fingerprint"]}
    results = [make_result(data, "train", "accuracy", "training accuracy (measured)", measured.train_score, **revision)]
    if predicted is not None:
        details = {
            "interval": list(predicted.predicted_test_score_interval),
            "coverage": calibration and calibration["coverage"],
            "extrapolation": predicted.extrapolation,
        }
        name = "test accuracy (PREDICTED by flatselect, not measured)"
        score = predicted.predicted_test_score
        results += [make_result(data, "unseen", "predicted_accuracy", name, score, metric_args=details, **revision)]
    if audited is not None:
        audit_data = _shorten_data_name(str(model.config.data.audit))
        results += [make_result(audit_data, "test", "accuracy", "audited test accuracy (measured)", audited)]
    card = ModelCardData(
        library_name="flatselect",
        pipeline_tag=_TASK,
        tags=["flatselect", _TASK, "model-selection"],
        model_name=title,
        eval_results=[result for result in results if math.isfinite(result.metric_value)],
    )
    return str(card.to_yaml())


def _make_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("flatselect.exporting"),
        # Not HTML: whatever is not ours is escaped for Markdown.
        autoescape=False,
        finalize=lambda value: value if isinstance(value, Markup) else escape_markdown(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {
        "number": lambda value: f"{value:.4g}",
        "score": lambda value: f"{value:.4f}",
        "percent": lambda part: f"{part:.0%}",
        "interval": _format_interval,
    }
    return environment


def _format_interval(interval: Interval) -> str:
    return f"({interval[0]:.4f} to {interval[1]:.4f})"
