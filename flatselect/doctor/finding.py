"""What one check found."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        subject: What was looked at, in a word or two.
        verdict: `problem`: a search would fail; `warning`: it would run, but slower or at a risk.
        found: What is there.
        remedy: What to do about it; None where nothing is to be done or `found`, an error's message, says it.
    """

    subject: str
    verdict: Verdict
    found: str
    remedy: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
