"""The condition language: text to the tree of `flatselect.store.expressions`, without a database.

    predicted_test_score > 0.9 and (width >= 32 or block in ('plain', 'residual')) and not is_calibration

A name is a column or a parameter; one that is no plain word stands in backquotes. A value is a number, a text in single
or double quotes, true or false. Operators: = == != <> < <= > >=, in, like (% and _ stand for any text and any letter),
contains, is null; not, and, or, parentheses.
"""

import re
from dataclasses import dataclass
from typing import Literal

from flatselect.errors import StoreError
from flatselect.store.expressions import (
    Aggregate,
    Comparison,
    Expression,
    IsNull,
    Junction,
    Match,
    Membership,
    Name,
    Negation,
    Operator,
    Truth,
    Value,
)

_MOST_CHARACTERS = 10_000
_MOST_PARTS = 200  # SQLite takes a thousand levels
_DEEPEST = 50

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<quoted>`[^`]+`)
    | (?P<word>[^\W\d][\w.]*)
    | (?P<sign>==|!=|<>|<=|>=|[=<>(),*])
    )""",
    re.VERBOSE,
)
_KEYWORDS = {"and", "or", "not", "in", "is", "null", "like", "contains", "true", "false"}
_SIGNS: dict[str, Operator] = {
    "=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
}  # fmt: skip


AGGREGATES = ("count", "min", "max", "avg", "sum")


def parse_condition(text: str) -> Expression:
    """Reads a condition.

    Raises:
        StoreError: It is not one; the message says where, and what was expected.
    """
    return _Parser(text).parse()


def parse_aggregates(text: str) -> list[Aggregate]:
    """Reads `max(train_score), count()`.

    Raises:
        StoreError: It is not a list of count, min, max, avg and sum.
    """
    found = []
    for part in _split(text):
        match = re.fullmatch(r"(\w+)\s*\(\s*(?:`([^`]+)`|([^\W\d][\w.]*)|\*)?\s*\)", part)
        if match is None or match[1].lower() not in AGGREGATES:
            raise StoreError(
                f"--agg: {part!r} is none of {', '.join(AGGREGATES)} with a column in parentheses, such as "
                "max(predicted_test_score), or count()"
            )
        function, name = match[1].lower(), match[2] or match[3]
        if name is None and function != "count":
            raise StoreError(f"--agg: {part!r}: of what? {function}(COLUMN)")
        found.append(Aggregate(function, name, f"{function}({name or ''})"))
    if not found:
        raise StoreError("--agg: is empty; give some, such as max(predicted_test_score),count()")
    return found


def parse_names(text: str) -> list[str]:
    """Reads `width, block`; a name in backquotes may hold a comma."""
    return [part.strip("`") for part in _split(text)]


def parse_sort(text: str | None) -> list[tuple[str, bool]]:
    """Reads `-predicted_test_score, number`: the names, and whether the greatest comes first; none of None.

    Raises:
        StoreError: It is not a list of names.
    """
    if text is None:
        return []
    parts = [part.strip() for part in re.split(r",(?![^(]*\))", text)]
    if not all(part.strip("- `") for part in parts):
        raise StoreError(f"--sort {text!r}: expected names separated by commas, such as -predicted_test_score,number")
    return [(part.removeprefix("-").strip().strip("`"), part.startswith("-")) for part in parts]


def _split(text: str) -> list[str]:
    _check_characters(text)
    return [part.strip() for part in re.findall(r"(?:`[^`]*`|[^,`])+", text) if part.strip()]


def _check_characters(text: str) -> None:
    if len(text) > _MOST_CHARACTERS:
        raise StoreError(f"{text[:40]!r}...: longer than {_MOST_CHARACTERS} characters")
    if "\x00" in text or (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)):
        raise StoreError(f"{text[:80]!r}: holds a character that no database takes")


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


class _Parser:
    """Recursive descent over the tokens of one condition."""

    def __init__(self, text: str) -> None:
        _check_characters(text)
        self._text = text
        self._tokens = self._read_tokens()
        self._position = 0
        self._n_parts = 0
        self._depth = 0

    def parse(self) -> Expression:
        found = self._parse_or()
        if self._peek().kind != "end":
            raise self._complain("expected and, or, or the end")
        return found

    def _read_tokens(self) -> list[_Token]:
        tokens, start, end = [], 0, len(self._text.rstrip())
        while start < end:
            match = _TOKEN.match(self._text, start)
            if match is None:
                place = len(self._text) - len(self._text[start:].lstrip())
                hint = "a text that does not end" if self._text[place] in "'\"`" else "not understood"
                raise self._complain(hint, place)
            kind = str(match.lastgroup)
            text = match[kind]
            if kind == "word" and text.lower() in _KEYWORDS:
                kind, text = "keyword", text.lower()
            tokens.append(_Token(kind, text, match.start(str(match.lastgroup))))
            start = match.end()
        tokens.append(_Token("end", "", end))
        return tokens

    def _parse_or(self) -> Expression:
        return self._parse_junction("or")

    def _parse_junction(self, operator: Literal["and", "or"]) -> Expression:
        parse = self._parse_not if operator == "and" else lambda: self._parse_junction("and")
        parts = [parse()]
        while self._take("keyword", operator):
            parts.append(parse())
        return parts[0] if len(parts) == 1 else Junction(operator, tuple(parts))

    def _parse_not(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._complain(f"more than {_DEEPEST} parentheses and nots within each other")
        try:
            if self._take("keyword", "not"):
                return Negation(self._parse_not())
            if self._take("sign", "("):
                found = self._parse_or()
                self._expect("sign", ")")
                return found
            return self._parse_comparison()
        finally:
            self._depth -= 1

    def _parse_comparison(self) -> Expression:
        self._n_parts += 1
        if self._n_parts > _MOST_PARTS:
            raise self._complain(f"more than {_MOST_PARTS} comparisons")
        left = self._parse_name()
        token = self._peek()
        if token.kind == "sign" and token.text in _SIGNS:
            self._position += 1
            return Comparison(left, _SIGNS[token.text], self._parse_operand())
        if self._take("keyword", "is"):
            negated = self._take("keyword", "not")
            self._expect("keyword", "null")
            return Negation(IsNull(left)) if negated else IsNull(left)
        negated = self._take("keyword", "not")
        found: Expression
        if self._take("keyword", "in"):
            found = Membership(left, self._parse_values())
        elif self._take("keyword", "like"):
            found = Match(left, "like", self._parse_text())
        elif self._take("keyword", "contains"):
            found = Match(left, "contains", self._parse_text())
        elif negated:
            raise self._complain("expected in, like or contains")
        else:
            return Truth(left)
        return Negation(found) if negated else found

    def _parse_name(self) -> Name:
        token = self._peek()
        if token.kind == "word":
            self._position += 1
            return Name(token.text)
        if token.kind == "quoted":
            self._position += 1
            return Name(token.text.strip("`"))
        raise self._complain("expected a column")

    def _parse_operand(self) -> Name | Value:
        return self._parse_name() if self._peek().kind in ("word", "quoted") else self._parse_value()

    def _parse_value(self) -> Value:
        token = self._peek()
        self._position += 1
        if token.kind == "number":
            number = float(token.text)
            is_whole = re.fullmatch(r"[-+]?\d+", token.text) is not None and abs(number) < 2**62
            return Value(int(token.text) if is_whole else number)
        if token.kind == "text":
            quote = token.text[0]
            return Value(token.text[1:-1].replace(quote * 2, quote))
        if token.kind == "keyword" and token.text in ("true", "false"):
            return Value(token.text == "true")
        self._position -= 1
        hint = "; of what is missing say: COLUMN is null" if token.text == "null" else ""
        if token.kind == "word":
            hint = f"; a text stands in quotes: '{token.text}'"
        raise self._complain(f"expected a number or a text in quotes{hint}")

    def _parse_values(self) -> tuple[Value, ...]:
        self._expect("sign", "(")
        values = [self._parse_value()]
        while self._take("sign", ","):
            values.append(self._parse_value())
        self._expect("sign", ")")
        return tuple(values)

    def _parse_text(self) -> str:
        found = self._parse_value()
        if not isinstance(found.value, str):
            self._position -= 1
            raise self._complain("expected a text in quotes")
        return found.value

    def _peek(self) -> _Token:
        return self._tokens[self._position]

    def _take(self, kind: str, text: str) -> bool:
        token = self._peek()
        if (token.kind, token.text) != (kind, text):
            return False
        self._position += 1
        return True

    def _expect(self, kind: str, text: str) -> None:
        if not self._take(kind, text):
            raise self._complain(f"expected {text}")

    def _complain(self, problem: str, start: int | None = None) -> StoreError:
        place = self._peek().start if start is None else start
        rest = self._text[place : place + 20]
        where = f"at {rest!r} (character {place + 1})" if rest.strip() else "at the end"
        shown = self._text if len(self._text) <= 200 else f"{self._text[:200]}..."
        return StoreError(f"condition {shown!r}, {where}: {problem}")
