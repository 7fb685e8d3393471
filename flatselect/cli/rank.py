"""`flatselect rank`: checkpoints in the order of the test scores that they can be expected to have."""

from collections.abc import Callable
from functools import partial

import click
import torch

from flatselect.cli.calibrator_choice import open_calibrator
from flatselect.cli.checkpoint_list import ListedCheckpoint, list_checkpoints
from flatselect.cli.checkpoint_measuring import CheckpointMeasurer, MeasuringSettings, measure_checkpoints
from flatselect.cli.checkpoint_model import parse_model_args
from flatselect.cli.measured_images import count_images, load_image_set, make_data_section, parse_constants
from flatselect.cli.measuring_options import device_options, find_device, image_options, network_options
from flatselect.cli.opening import make_file_url
from flatselect.cli.option_words import in_words_of_options
from flatselect.cli.output import make_output_options, print_json, print_records
from flatselect.cli.page_path import check_page_path
from flatselect.cli.rank_output import print_errors, print_ranking
from flatselect.cli.rank_page import list_facts
from flatselect.cli.step_progress import StepProgress
from flatselect.config import DataSection
from flatselect.data.dataset import describe_dataset
from flatselect.data.loading import AnySet, load_unlabeled_set
from flatselect.search.versions import collect_versions
from flatselect.selection.calibrator import Calibrator
from flatselect.selection.measurement_cache import MeasurementCache, find_cache_folder
from flatselect.selection.measuring import DEFAULT_PROBE_IMAGES, MOST_TRAIN_IMAGES, MeasuredNetwork
from flatselect.selection.result import Ranking, rank_measured
from flatselect.store.checkpoint_rankings import RankedCheckpoint, record_ranking
from flatselect.store.engine import make_engine, show_url

# More say hardly more, and all are in memory as floats.
MOST_UNLABELED = 2048
# A process takes seconds to start: it should have a few networks to measure.
_CHECKPOINTS_A_WORKER = 4

_EPILOG = """\b
Examples:
  All checkpoints of a folder, of one network:
    flatselect rank runs/ --model torchvision:resnet18 --data CIFAR10
  The same with images from where the network will be used, which need no labels:
    flatselect rank runs/*.pt --model cnn --model-arg width=32 --data digits \\
        --unlabeled arrays:new.npz
  The trials that a search left, which say which networks they are:
    flatselect rank digits-checkpoints/ --data digits
  Networks of several kinds; the CSV's columns are path, model and args (a JSON object):
    flatselect rank --manifest networks.csv --data folder:photos --image-size 224
  With the calibrator of a search, or one in a file; for programs; as a page:
    flatselect rank runs/ --model cnn --data digits --calibrator study:digits --json
    flatselect rank runs/ --model cnn --data digits --calibrator gap.json -o report.html
  Remembered in a database, and asked for later:
    flatselect rank runs/ --model cnn --data digits --record ranked.db
    flatselect sql "SELECT rank, path, score FROM flatselect_ranked_checkpoints" ranked.db

--data are the images, with labels, that the networks were trained on. Without a calibrator (none) nothing is
predicted, and the order is that of accuracy on training images that are moved, mixed up and noisy, and as much of
agreement with the others on --unlabeled images. With a study's calibrator, a calibration trial of that study is
predicted without its own rows. Checkpoints are read as by `flatselect measure`, without running any code they might
hold. What was measured is kept in ~/.cache/flatselect (or FLATSELECT_CACHE): a second call is instant."""


@click.command("rank", epilog=_EPILOG)
@click.argument("checkpoints", nargs=-1, metavar="[CHECKPOINT]...", type=click.Path())
@click.option("--manifest", metavar="FILE.csv", help="Checkpoints with their networks: columns path,model,args.")
@network_options
@image_options("to measure flatness on", DEFAULT_PROBE_IMAGES)
@click.option("--unlabeled", metavar="SPEC", help="Images to be expected in use, no labels needed; forms as of --data.")
@click.option("--calibrator", metavar="SPEC", help="FILE, study:NAME, shipped (default) or none.")
@click.option("--storage", metavar="URL", help="Database of that study; default: NAME.db.")
@click.option("--layer", metavar="NAME", help="Another layer; default: the last convolution.")
@device_options
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes.  [default: by checkpoints, cores]")
@click.option("--no-cache", is_flag=True, help="Measure everything anew.")
@click.option("--record", metavar="DATABASE", help="Remember this ranking in a database: FILE.db, or a URL.")
@click.option("-o", "--output", metavar="FILE.html", help="Write a page with a plot too.")
@make_output_options("One JSON object: calibrator, and checkpoints, best first.")
def rank(
    checkpoints: tuple[str, ...],
    manifest: str | None,
    model_name: str | None,
    model_args: tuple[str, ...],
    classes: int | None,
    data: str,
    data_root: str | None,
    download: bool,
    image_size: int | None,
    mean: str | None,
    std: str | None,
    n_images: int | str | None,
    seed: int,
    unlabeled: str | None,
    calibrator: str | None,
    storage: str | None,
    layer: str | None,
    batch_size: int,
    device: str,
    workers: int | None,
    no_cache: bool,
    record: str | None,
    output: str | None,
    output_format: str | None,
) -> None:
    """Rank every CHECKPOINT (files, or folders of them) by the test score that can be expected of its network."""
    if not checkpoints and manifest is None:
        raise click.UsageError("no checkpoints: give files or folders, or --manifest FILE.csv")
    constants, args, place = parse_constants(mean, std), parse_model_args(model_args), find_device(device)
    if output is not None:
        check_page_path(output)
    if record is not None:
        record = record if "://" in record else make_file_url(record)
        make_engine(record).dispose()  # one that cannot be used is found before anything is measured
    chosen = open_calibrator(calibrator, storage)
    listed, note = list_checkpoints(checkpoints, manifest, model_name, args)
    keys = {"root": data_root, "download": download, "image_size": image_size}
    with in_words_of_options():
        train_set = load_image_set(data, seed=seed, mean=constants[0], std=constants[1], **keys)
        unlabeled_set = None
        if unlabeled is not None:
            unlabeled_set = _load_unlabeled(make_data_section(unlabeled, option="unlabeled", **keys), train_set, seed)
    settings = MeasuringSettings(
        n_classes=classes,
        has_given_constants=constants[0] is not None,
        n_probe_images=count_images(n_images, DEFAULT_PROBE_IMAGES, train_set, data),
        seed=seed,
        layer=layer,
        batch_size=batch_size,
        device=str(place),
    )
    if note is not None:
        click.echo(note, err=True)
    if len(train_set) > MOST_TRAIN_IMAGES:
        n = len(train_set)
        click.echo(f"training scores are of {MOST_TRAIN_IMAGES} of the {n} images, drawn by class", err=True)
    measurer = CheckpointMeasurer(train_set, unlabeled_set, settings)
    cache = None if no_cache else MeasurementCache(find_cache_folder())
    measured = _measure(listed, measurer, cache, partial(_choose_n_workers, workers, place))
    measure_pixels = partial(measurer.measure_training_pixels, cache)
    ranking = rank_measured(measured, chosen, measure_pixels, _find_own_groups(listed, measured, chosen))
    _print(ranking, output_format)
    if output is not None:
        from flatselect.report.ranking_page import write_ranking_page  # loads plotly

        facts = list_facts(data, train_set, settings.n_probe_images, seed, unlabeled, ranking.predicted_by)
        write_ranking_page(ranking, output, facts)
        click.echo(f"{output}: written", err=True)
    if record is not None:
        _record(record, ranking, listed, train_set, unlabeled)
    if not ranking.ranked:
        raise click.ClickException("no checkpoint could be ranked")


def _load_unlabeled(section: DataSection, train_set: AnySet, seed: int) -> AnySet:
    dataset = load_unlabeled_set(section, train_set)
    if len(dataset) <= MOST_UNLABELED:
        return dataset
    drawn = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:MOST_UNLABELED]
    return dataset.subset(drawn.sort().values)


def _choose_n_workers(wanted: int | None, device: torch.device, n_checkpoints: int) -> int:
    if wanted is not None:
        return min(wanted, n_checkpoints)
    if device.type != "cpu":
        return 1
    return max(1, min(n_checkpoints // _CHECKPOINTS_A_WORKER, torch.get_num_threads()))


def _measure(
    listed: list[ListedCheckpoint],
    measurer: CheckpointMeasurer,
    cache: MeasurementCache | None,
    choose_n_workers: Callable[[int], int],
) -> list[tuple[str, MeasuredNetwork | str]]:
    results: dict[int, MeasuredNetwork | str] = {}
    n_cached = 0
    with StepProgress("measuring", "checkpoints", len(listed)) as progress:
        for index, result, is_cached in measure_checkpoints(listed, measurer, cache, choose_n_workers):
            results[index] = result
            n_cached += is_cached
            progress.show(len(results))
    if n_cached:
        click.echo(f"{n_cached} of {len(listed)} checkpoints were measured before (--no-cache measures anew)", err=True)
    for index, entry in enumerate(listed):
        if isinstance(result := results[index], MeasuredNetwork) and result.note is not None:
            click.echo(f"{entry.path}: {result.note}", err=True)
    return [(entry.path, results[index]) for index, entry in enumerate(listed)]


def _find_own_groups(
    listed: list[ListedCheckpoint], measured: list[tuple[str, MeasuredNetwork | str]], calibrator: Calibrator | None
) -> dict[str, str]:
    """By path, the group of the calibrator's rows that come from this very network."""
    if calibrator is None or not calibrator.own_groups:
        return {}
    groups = {}
    for entry, (path, network) in zip(listed, measured, strict=True):
        origin = None if isinstance(network, str) else network.origin
        for key in (entry.sha256, origin):
            if key is not None and key in calibrator.own_groups:
                groups[path] = calibrator.own_groups[key]
    if groups:
        click.echo(
            f"{len(groups)} of {len(listed)} checkpoints are calibration trials of {calibrator.source}: each is "
            "predicted without its own rows, and its training score here is of images too that it held out, which is "
            "too low (flatselect show has the study's own ranking)",
            err=True,
        )
    return groups


def _record(
    url: str, ranking: Ranking, listed: list[ListedCheckpoint], train_set: AnySet, unlabeled: str | None
) -> None:
    of_path = {entry.path: entry for entry in listed}
    checkpoints = [
        RankedCheckpoint(
            path=candidate.path,
            rank=candidate.rank,
            sha256=of_path[candidate.path].sha256,
            model=of_path[candidate.path].model_name,
            measurement=candidate.measurement,
            prediction=candidate.prediction,
            probability_best=candidate.probability_best,
            error=candidate.error,
        )
        for candidate in ranking.candidates
    ]
    database = make_engine(url)
    uid = record_ranking(
        database,
        checkpoints,
        data=describe_dataset(train_set),
        unlabeled=unlabeled,
        calibrator=ranking.calibrator,
        versions=collect_versions(),
    )
    click.echo(f"{show_url(database)}: ranking {uid} of {len(checkpoints)} checkpoints is remembered", err=True)
    database.dispose()


def _print(ranking: Ranking, output_format: str | None) -> None:
    if output_format is None:
        print_ranking(ranking)
        return
    if output_format == "json":
        print_json(ranking.to_json())
    else:
        print_records([candidate.to_json() for candidate in ranking.candidates], output_format)
    print_errors(ranking)
