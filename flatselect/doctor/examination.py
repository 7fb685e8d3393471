"""All checks, in an order in which each needs only what those before it found sound."""

from collections.abc import Iterator

from flatselect.config import RaySection, StudyConfig
from flatselect.doctor.finding import Finding
from flatselect.doctor.packages import check_packages, check_python
from flatselect.doctor.ray_cluster import check_ray
from flatselect.doctor.storage import check_storage
from flatselect.doctor.threads import check_threads
from flatselect.doctor.torch_build import check_gpu, check_torch
from flatselect.errors import ConfigError
from flatselect.study_file import load_study_file


def examine(study: str | None = None, storage: str | None = None, ray_address: str | None = None) -> Iterator[Finding]:
    """Checks this machine and, as far as they are given, a study, its database and a Ray cluster.

    Args:
        study: A study file.
        storage: The database's URL; default: the study's.
        ray_address: Of a running cluster; default: the study's, else RAY_ADDRESS.

    Yields:
        One finding a check, as soon as it is made.
    """
    yield check_python()
    yield check_packages()
    yield (torch_finding := check_torch())
    is_torch_sound = torch_finding.verdict != "problem"
    config = None
    if study is not None:
        try:
            config = load_study_file(study)
        except ConfigError as error:
            yield Finding("study file", "problem", str(error))
        else:
            yield Finding("study file", "ok", f"{study}: study {config.study.name}, {config.study.trials} trials")
    options = config.ray if config is not None else RaySection()
    address = ray_address or options.find_address()
    is_local = address == "local"
    if is_torch_sound:
        yield check_gpu(options.gpus_per_trial if is_local else None)
    if is_local:
        yield check_threads(options)
    yield check_ray(address)
    url = storage or (config.study.storage if config is not None else None)
    if url is not None:
        yield check_storage(url)
    if config is not None and is_torch_sound:
        yield from _check_images_and_checkpoints(config)


def _check_images_and_checkpoints(config: StudyConfig) -> Iterator[Finding]:
    # Not before torch is known to import: these cannot be loaded without it.
    from flatselect.doctor.checkpoint_folder import check_checkpoint_folder
    from flatselect.doctor.data_sets import check_data

    finding, training_set = check_data(config)
    yield finding
    if training_set is not None:
        yield check_checkpoint_folder(config, training_set)
