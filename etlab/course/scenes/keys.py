"""Keys of the challenge: what dev and hidden tiers are drawn from, and nobody without the key can draw again."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

DEMO_KEY = b"demo: everyone has this key, it hides nothing"
MIN_KEY_BYTES = 16


def new_key(path: str | os.PathLike) -> None:
    """Write a new secret key, 32 random bytes, to a file that only its owner can read.

    Raises FileExistsError if the file is there: without its key a tier cannot be made again.
    """
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
    except FileExistsError as error:
        raise FileExistsError(
            f"{path} is already there, and a key is never overwritten; choose another name"
        ) from error
    with file:
        file.write(secrets.token_hex(32) + "\n")


def read_key(path: str | os.PathLike) -> bytes:
    """Return the key in a file that `new_key` wrote. Raises ValueError if it holds anything else."""
    try:
        return checked_key(bytes.fromhex(Path(path).read_text(encoding="ascii").strip()))
    except ValueError as error:
        raise ValueError(
            f"{path}: expected a key of at least {2 * MIN_KEY_BYTES} hexadecimal digits; "
            "make one with `etlab challenge key`"
        ) from error


def checked_key(key: bytes) -> bytes:
    """Return ``key``. Raises ValueError if it is so short that it could be guessed."""
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"key: got {len(key)} bytes, expected at least {MIN_KEY_BYTES}")
    return key


def seed(key: bytes, purpose: str) -> int:
    """Return a seed of 256 bits for ``purpose``, by HMAC-SHA-256."""
    return int.from_bytes(hmac.digest(key, purpose.encode(), "sha256"))
