"""How a note of ours that was saved is known: by a line that no reader sees, as Markdown takes it for a link's address.

It holds the SHA-256 of what stands before it, so a note that somebody has changed is theirs.
"""

import hashlib
import re

_SIGNATURE = re.compile(r'\n\n\[flatselect\]: # "saved note ([0-9a-f]{64})"\s*\Z')


def sign_note(body: str) -> str:
    return f'{body}\n\n[flatselect]: # "saved note {_hash(body)}"'


def is_own_note(note: str) -> bool:
    """Whether this is what `sign_note` made, and no more."""
    signed = _SIGNATURE.search(note)
    return signed is not None and signed[1] == _hash(note[: signed.start()])


def _hash(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
