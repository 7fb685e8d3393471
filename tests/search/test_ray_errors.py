"""What is said of Ray's errors: one line, the cause."""

import pytest

from flatselect.search.ray_cluster import describe_error

_CREATION = """The actor died because of an error in its creation task, \x1b[36mray::Worker.__init__()\x1b[39m (pid=7)
             ^^^^^^^^^^^^^^^^^^^^
  File "worker.py", line 3, in __init__
    torch.zeros(1, device="cuda")
RuntimeError: Found no NVIDIA driver on your system."""
_TASK = """\x1b[36mray::Worker.train_epoch()\x1b[39m (pid=7)
  File "worker.py", line 9, in train_epoch
ValueError: the user's own mistake"""
_DEATH = """The actor died before finishing this task.
\tclass_name: Worker
\tactor_id: 3a3aa04a
\tpid: 7
The actor is dead because its node has died."""


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (_CREATION, "RuntimeError: Found no NVIDIA driver on your system."),
        (_TASK, "ValueError: the user's own mistake"),
        (
            _DEATH,
            "The actor died before finishing this task. The actor is dead because its node has died.",
        ),
        ("", "RuntimeError"),
    ],
)
def test_the_cause_is_said_in_one_line(message: str, said: str) -> None:
    assert describe_error(RuntimeError(message)) == said
