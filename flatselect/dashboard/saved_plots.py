"""Plots and the note, stored by optuna-dashboard's own functions: any dashboard shows them.

It has none that takes them out again, and a plot replaced by nothing would break the page: their rows are deleted.
"""

import optuna_dashboard
import plotly.graph_objects

from flatselect.dashboard.notes import SAVED_ENDING, make_study_note
from flatselect.dashboard.plots import PLOT_PREFIX, make_figures
from flatselect.dashboard.saved_note import is_own_note, sign_note
from flatselect.dashboard.stored_study import StoredStudy
from flatselect.report.study_contents import Detail, StudyContents

# Every read of the study's attributes reads what is saved.
SAVED_DETAIL = Detail(points=300, best_curves=10, other_curves=20, curve_epochs=50)
# As optuna-dashboard names what it stores.
_PLOT_KEY = "dashboard:plot_data:"
_NOTE_KEY = "dashboard:note_"


def save_plots(stored: StoredStudy, contents: StudyContents) -> dict[str, int]:
    """Stores the plots in place of those that were; returns how long each is, in characters, by its name."""
    figures = make_figures(contents)
    stored.delete_attributes({key for key, name in _find_plots(stored).items() if name not in figures})
    sizes = {}
    for name, drawing in figures.items():
        figure = plotly.graph_objects.Figure(drawing)
        figure.layout.template = {}  # the dashboard has its own; plotly's is as large as a plot
        optuna_dashboard.save_plotly_graph_object(stored.study, figure, graph_object_id=name)
        sizes[name] = len(figure.to_json())
    return sizes


def save_note(stored: StoredStudy, contents: StudyContents) -> int | None:
    """Stores the note in place of the one that was; returns its length.

    A note that the user has written stays, and None is returned.
    """
    present = optuna_dashboard.get_note(stored.study)
    if present and not is_own_note(present):
        return None
    note = sign_note(make_study_note(contents, SAVED_ENDING))
    optuna_dashboard.save_note(stored.study, note)
    return len(note)


def remove_plots(stored: StoredStudy) -> int:
    """Takes ours out, and returns how many there were."""
    plots = _find_plots(stored)
    stored.delete_attributes(plots)
    return len(set(plots.values()))


def remove_note(stored: StoredStudy) -> bool:
    """Takes ours out, and returns whether there was one."""
    if not is_own_note(optuna_dashboard.get_note(stored.study)):
        return False
    stored.delete_attributes(stored.read_attributes(_NOTE_KEY))
    return True


def _find_plots(stored: StoredStudy) -> dict[str, str]:
    """The names of our plots, by the keys of all their parts."""
    keys = stored.read_attributes(f"{_PLOT_KEY}{PLOT_PREFIX}")
    return {key: key.removeprefix(_PLOT_KEY).rpartition(":")[0] for key in keys}
