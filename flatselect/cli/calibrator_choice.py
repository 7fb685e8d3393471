"""`--calibrator`: a file, a study's latest, the one that ships with the package, or none."""

from contextlib import closing

from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.cli.checkpoint_description import make_origin
from flatselect.cli.opening import open_referred_study
from flatselect.errors import CalibrationError, ConfigError
from flatselect.selection.calibrator import Calibrator, choose_calibrator

_STUDY = "study:"


def open_calibrator(text: str | None, storage: str | None) -> Calibrator | None:
    """The calibrator that the option names; None for predictions without one.

    Args:
        text: FILE, `study:STUDY`, shipped or none; None is shipped.
        storage: The database's URL, where STUDY is a study's name.

    Raises:
        ConfigError: There is a `storage` and no study.
        CalibrationError: The file cannot be read, or the study has no calibrator yet.
        StoreError: There is no such study.
    """
    if text is None or not text.startswith(_STUDY):
        if storage is not None:
            raise ConfigError(f"--storage {storage}: is for --calibrator study:NAME; leave it out, or name the study")
        return choose_calibrator(text)
    with closing(open_referred_study(text.removeprefix(_STUDY), storage)) as reader:
        stored = reader.latest_calibrator()
        checkpoints, name, data = reader.checkpoints(), reader.name(), reader.data()
    if stored is None:
        raise CalibrationError(
            f"--calibrator {text}: this study has no calibrator yet; let its calibration trials finish first"
        )
    predictor = GapPredictor.from_dict(stored[1])
    fitted = {row.group for row in predictor.rows}
    # Groups are trial numbers; only a calibration trial has rows.
    own = {file.sha256: str(number) for number, file in checkpoints.items() if str(number) in fitted}
    return Calibrator(text, predictor, own | {make_origin(name, group, data): group for group in fitted})
