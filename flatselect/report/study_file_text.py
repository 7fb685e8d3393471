"""A study's plain values as the TOML of a study file."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def make_study_file_text(config: Mapping[str, Mapping[str, Any]]) -> str:
    """What `load_study_file` reads the same values from; None, which TOML has no word for, is left out."""
    sections = []
    for name, section in config.items():
        lines = [f"{_format_key(key)} = {_format(value)}" for key, value in section.items() if value is not None]
        sections.append("\n".join([f"[{_format_key(name)}]", *lines]))
    return "\n\n".join(sections) + "\n"


def _format_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _format(key)


def _format(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = [f"{_format_key(key)} = {_format(item)}" for key, item in value.items() if item is not None]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_format, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # TOML's own words
    # A JSON string, number or truth value is TOML too, but for this character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
