"""Messages written for study files and for Python, in the words of a command's own options."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from flatselect.errors import FlatselectError

_REPLACEMENTS = [
    (r"--set data\.download=true", "--download"),
    (r"--set data\.root=", "--data-root "),
    (r"--set data\.image_size=", "--image-size "),
    (r"data\.train = '([^']*)'", r"--data \1"),
    (r"data\.unlabeled = '([^']*)'", r"--unlabeled \1"),
    (r"data\.image_size", "--image-size"),
    (r"data\.(mean|std)", r"--\1"),
    (r"layers?='([^']*)'", r"--layer \1"),
    (r"layer=NAME", "--layer NAME"),
    (r"\b(adapt|out of) the model's args", r"\1 --model-arg"),
]


@contextmanager
def in_words_of_options() -> Iterator[None]:
    """Renames, in the message of an error that passes, keys of `[data]` and arguments of `measure` to the options."""
    try:
        yield
    except FlatselectError as error:
        message = str(error)
        for pattern, replacement in _REPLACEMENTS:
            message = re.sub(pattern, replacement, message)
        raise type(error)(message) from error
