"""What an exported model says of itself in formats that hold tensors and text: one JSON object."""

import json
from collections.abc import Mapping
from typing import Any

DOCUMENT_KEY = "flatselect"  # of safetensors' and ONNX's metadata; the file's name in a torch.export program
DOCUMENT_VERSION = 1
_KEYS = {"kind", "model", "model_args", "input_shape", "class_names", "provenance"}


def make_document(content: Mapping[str, Any], **more: Any) -> str:
    """The text of everything in `content` but its weights, and of `more`.

    Raises:
        ValueError: It holds a number that is not finite.
        TypeError: It holds more than plain values.
    """
    described = {key: value for key, value in content.items() if key != "state_dict"}
    return json.dumps({"format_version": DOCUMENT_VERSION, **described, **more}, ensure_ascii=False, allow_nan=False)


def parse_document(text: str | bytes) -> dict[str, Any]:
    """What `make_document` was given.

    Raises:
        ValueError: It is no such document, or one of a newer version.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"what flatselect says of it is damaged: {error}") from None
    if not isinstance(document, dict) or not document.keys() >= _KEYS:
        raise ValueError("what flatselect says of it is damaged: keys are missing")
    version = document["format_version"]
    if not isinstance(version, int) or version > DOCUMENT_VERSION:
        raise ValueError(f"format {version}, this flatselect reads up to {DOCUMENT_VERSION}; update it")
    return document
