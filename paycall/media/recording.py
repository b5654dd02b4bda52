"""Recordings of calls, encrypted while they are written.

Rules: what is recorded is what the operator heard and said, never the caller before the mask. A file has a data key
of its own, sealed to the site's public key (HPKE, RFC 9180: X25519, HKDF-SHA-256, AES-256-GCM): a cell can write
recordings and read none. Sound goes into chunks of AES-256-GCM whose nonce is their number and whose associated data
is the header's hash and whether the chunk is the last (as in STREAM, Hoang et al. 2015): a chunk that was changed,
moved, taken out or cut off is found. A file that breaks off with its process is whole up to its last chunk.
No PJSIP here.

    "PAYCALL-REC-1\\n"  header's length (4 bytes)  header (JSON)  { last (1 byte)  length (4 bytes)  ciphertext } ...
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
import wave
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from dsp import decode_alaw
from paycall.domain.errors import PaycallError, SettingsError
from paycall.domain.ids import is_id

RATE_HZ = 8000
SUFFIX = ".rec"
_MAGIC = b"PAYCALL-REC-1\n"
_MAX_HEADER = 4096
_MAX_CHUNK = 4 * 1024 * 1024
_CHUNK_HEAD = struct.Struct("!?I")
_TAG_BYTES = 16
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class RecordingError(PaycallError):
    """A recording is not what it was when it was written; the text says where."""

    code = "recording-damaged"
    text = "the recording is damaged"


@dataclass(frozen=True)
class Header:
    """What may be read without a key. ``started_at`` is Unix time; ``key`` names the public key."""

    recording_id: str
    call_id: str
    started_at: float
    key: str
    sealed: str

    def encode(self) -> bytes:
        """As it is in the file."""
        return json.dumps(asdict(self), sort_keys=True).encode()


@dataclass(frozen=True)
class Summary:
    """A recording without its sound. ``complete``: it was ended, and did not break off."""

    path: Path
    header: Header
    seconds: float
    complete: bool


# ---- the site's keys ------------------------------------------------------------------------------------


def create_keys(private: Path, public: Path) -> None:
    """Make the site's two keys, for this user only; keeps those that are there.

    Raises
    ------
    SettingsError
        If they cannot be written.
    """
    if public.exists():
        return
    key = X25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    shared = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        for path, data in ((private, secret), (public, shared)):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
    except OSError:
        raise SettingsError("setting media.recording: the keys cannot be written") from None


def read_public_key(path: Path) -> X25519PublicKey:
    """The site's public key.

    Raises
    ------
    SettingsError
        If it cannot be read.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError):
        raise SettingsError(f"setting media.recording.public_key: {path} cannot be read") from None
    if not isinstance(key, X25519PublicKey):
        raise SettingsError(f"setting media.recording.public_key: {path} is not an X25519 key")
    return key


def read_private_key(path: Path) -> X25519PrivateKey:
    """The key that opens recordings.

    Raises
    ------
    SettingsError
        If it cannot be read, or others may read it.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise SettingsError(f"setting media.recording.private_key: others may read {path}")
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        raise SettingsError(f"setting media.recording.private_key: {path} cannot be read") from None
    if not isinstance(key, X25519PrivateKey):
        raise SettingsError(f"setting media.recording.private_key: {path} is not an X25519 key")
    return key


def key_name(key: X25519PublicKey) -> str:
    """A name for the key: letters from its hash."""
    digest = hashlib.sha256(key.public_bytes_raw()).digest()
    return "".join(chr(ord("a") + byte % 26) for byte in digest[:16])


# ---- writing --------------------------------------------------------------------------------------------


class RecordingFile:
    """A recording that is being written: sealed chunks, each flushed to the system when it is written.

    Raises
    ------
    OSError
        If it cannot be made, as every method may.
    """

    def __init__(
        self, folder: Path, recording_id: str, call_id: str, started_at: float, key: X25519PublicKey
    ) -> None:
        data_key = AESGCM.generate_key(256)
        sealed = _SUITE.encrypt(data_key, key, info=_info(recording_id))
        header = Header(recording_id, call_id, started_at, key_name(key), base64.b64encode(sealed).decode())
        self._cipher = AESGCM(data_key)
        self._number = 0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = folder / f"{recording_id}{SUFFIX}"
        self._file: BinaryIO = os.fdopen(
            os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
        )
        encoded = header.encode()
        self._hash = hashlib.sha256(_MAGIC + encoded).digest()
        self._put(_MAGIC + struct.pack("!I", len(encoded)) + encoded)

    def write(self, sound: bytes, *, last: bool = False) -> None:
        """Add a chunk: A-law, two bytes a sample - what the operator said, what the operator heard."""
        sealed = self._cipher.encrypt(_nonce(self._number), sound, _bound(self._hash, last=last))
        self._number += 1
        self._put(_CHUNK_HEAD.pack(last, len(sealed)) + sealed)

    def close(self) -> None:
        """Let go of the file; one without a last chunk has broken off."""
        self._file.close()

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()


# ---- reading --------------------------------------------------------------------------------------------


def recordings(folder: Path) -> list[Summary]:
    """All recordings in a folder, oldest first; files that are none are left out."""
    found = []
    for path in folder.glob(f"*{SUFFIX}") if folder.is_dir() else ():
        try:
            found.append(summary(path))
        except (RecordingError, OSError):
            continue
    return sorted(found, key=lambda one: one.header.started_at)


def summary(path: Path) -> Summary:
    """What is known of a recording without its key.

    Raises
    ------
    RecordingError
        If it is no recording.
    """
    with path.open("rb") as file:
        header, _ = _read_header(file)
        size, complete = 0, False
        while (head := file.read(_CHUNK_HEAD.size)) and len(head) == _CHUNK_HEAD.size:
            last, length = _CHUNK_HEAD.unpack(head)
            if not _TAG_BYTES <= length <= _MAX_CHUNK or len(file.read(length)) < length:
                break
            size, complete = size + length - _TAG_BYTES, last
    return Summary(path, header, size / 2 / RATE_HZ, complete)


def open_recording(path: Path, key: X25519PrivateKey) -> Iterator[bytes]:
    """The sound of a recording, a chunk at a time, as it was written.

    A recording that breaks off gives all its whole chunks and ends; ``summary`` tells that it is not complete.

    Raises
    ------
    RecordingError
        If it was encrypted to another key, or at the first chunk that is not as it was written.
    """
    with path.open("rb") as file:
        header, bound = _read_header(file)
        if header.key != key_name(key.public_key()):
            raise RecordingError(f"the recording was encrypted to another key, {header.key}")
        try:
            sealed = base64.b64decode(header.sealed, validate=True)
            cipher = AESGCM(_SUITE.decrypt(sealed, key, info=_info(header.recording_id)))
        except (InvalidTag, ValueError):
            raise RecordingError("the recording's header was changed") from None
        number, last = 0, False
        while head := file.read(_CHUNK_HEAD.size):
            if last:
                raise RecordingError(f"something was added after chunk {number}, the last one")
            if len(head) < _CHUNK_HEAD.size:
                return
            last, length = _CHUNK_HEAD.unpack(head)
            data = file.read(length) if length <= _MAX_CHUNK else b""
            if 0 < length <= _MAX_CHUNK and len(data) < length:
                return  # it was being written
            number += 1
            try:
                yield cipher.decrypt(_nonce(number - 1), data, _bound(bound, last=last))
            except (InvalidTag, ValueError):
                raise RecordingError(f"chunk {number} was changed, moved or taken from elsewhere") from None


def export_wav(path: Path, key: X25519PrivateKey, target: BinaryIO) -> None:
    """Write a recording as a stereo WAV file, 16 bit: the operator left, what the operator heard right.

    Raises
    ------
    RecordingError
        As ``open_recording``; what came before the fault has been written.
    """
    with wave.open(target, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        for sound in open_recording(path, key):
            file.writeframes(decode_alaw(np.frombuffer(sound, dtype=np.uint8)).astype("<i2").tobytes())


def delete_older(folder: Path, keep_days: float, now: float) -> list[str]:
    """Delete recordings that began more than so many days before ``now`` (Unix time); gives which."""
    old = [one for one in recordings(folder) if one.header.started_at < now - keep_days * 86400]
    for one in old:
        one.path.unlink(missing_ok=True)
    return [one.header.recording_id for one in old]


def _read_header(file: BinaryIO) -> tuple[Header, bytes]:
    """The header, and the hash that binds every chunk to it."""
    start = file.read(len(_MAGIC) + 4)
    length = int.from_bytes(start[len(_MAGIC) :], "big")
    if start[: len(_MAGIC)] != _MAGIC or not 0 < length <= _MAX_HEADER:
        raise RecordingError("this is no recording of paycall")
    encoded = file.read(length)
    try:
        header = Header(**json.loads(encoded))
    except (ValueError, TypeError):
        raise RecordingError("the recording's header was changed") from None
    if not is_id(str(header.recording_id), "rec") or not isinstance(header.started_at, float):
        raise RecordingError("the recording's header was changed")
    return header, hashlib.sha256(_MAGIC + encoded).digest()


def _info(recording_id: str) -> bytes:
    return b"paycall recording " + recording_id.encode()


def _nonce(number: int) -> bytes:
    """A data key is for one file only, so a chunk's number is a nonce that never comes twice."""
    return number.to_bytes(12, "big")


def _bound(header_hash: bytes, *, last: bool) -> bytes:
    return header_hash + bytes([last])
