"""Texts from outside in Markdown."""

import re
from collections.abc import Sequence

# CommonMark lets every character of ASCII's punctuation be escaped: then it means itself.
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def escape_markdown(text: str) -> str:
    """The text as Markdown that shows it as it is, on one line."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(text.split()))


def make_markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], n_left: int) -> str:
    """A table of Markdown, cells as they are given; the first `n_left` columns are aligned left, the others right."""
    ruler = [":--" if column < n_left else "--:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ruler, *rows])
