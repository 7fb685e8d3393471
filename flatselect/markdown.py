"""Text of anybody's in Markdown: names stay names, whatever is in them."""

import re
from collections.abc import Sequence

# An underscore between letters is none of Markdown's business.
_SPECIAL = re.compile(r"([\\`*\[\]<>|~&#$@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")


def escape_markdown(value: object) -> str:
    """One line of text that Markdown, its tables and HTML show as it is; what cannot be seen is left out."""
    line = " ".join(str(value).split())
    return _SPECIAL.sub(r"\\\1", "".join(character for character in line if character.isprintable()))


def make_markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], n_left: int) -> str:
    """A table of Markdown, cells as they are given; the first `n_left` columns are aligned left, the others right."""
    ruler = [":--" if column < n_left else "--:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ruler, *rows])
