"""Everything that is read of a study, also while a search writes it."""

import difflib
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from optuna.storages import RDBStorage
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine, Row, func, inspect, select
from sqlalchemy.orm import InstrumentedAttribute

from flatselect.errors import StoreError
from flatselect.records import EpochMeasurement, Failure, Prediction, TrialRecord
from flatselect.store.engine import open_transaction, show_url
from flatselect.store.migrate import ensure_schema, has_schema
from flatselect.store.optuna_storage import make_optuna_storage
from flatselect.store.run_records import AttemptRecord, CheckpointRecord, RunRecord, StudySummary
