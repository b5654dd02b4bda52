"""A payment with every kind of failure on the way, by cards that no other test keys, and all that it leaves behind.

The caller keys in all three ways; the first card is declined after a bad number, a pause, a cleared field, a bad
date, a key provider that is away and a vault that was killed; the second one's answer gets lost, is found out,
settled and refunded; in a second payment the caller hangs up half-way. Every process runs at DEBUG, the call is
recorded.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil

import dsp
from paycall.demo.cards import TestCard
from paycall.demo.leaks import Finding, Searcher, number_forms
from paycall.demo.stack import start_stack
from paycall.media.recording import export_wav, read_private_key, recordings
from paycall.scan.encodings import hits
from paycall.scan.files import scan_file
from tests.leak.taps import EventTap, taps
from tests.phones import capture
from tests.phones.desk import CODE, EXPIRY, NUMBER, Desk
from tests.phones.rtp import all_before_others
from tests.phones.scripted import Phones, phones
from tests.phones.site import PATIENCE_S, until
from tests.process_memory import around, blocks, code_block, need_rights, open_files, started_with

# Codes that begin with a zero: no number in a log is written so, and so none is taken for one of them.
DECLINED = TestCard("4242428391750638", "0932", "083", "")
LOST_ANSWER = TestCard("378734493671000", "1131", "0917", "")
UNFINISHED = TestCard("4111117308629542", "1031", "062", "")
CANARIES = (DECLINED, LOST_ANSWER, UNFINISHED)
_CODES = [card.security_code.encode() for card in CANARIES]
_RULES = f"""
[[rule]]
last4 = "{DECLINED.number[-4:]}"
code = "51"
[[rule]]
last4 = "{LOST_ANSWER.number[-4:]}"
fault = "drop_after_booking"
"""
_PAGES = (
    "/ /embed /fragments/board /history /reports /history/payments.csv /account /people /audit /docs /openapi.json"
    " /metrics /api/v1/calls?state=all /api/v1/payments /api/v1/operators /api/v1/session"
).split()
_OTHER_WAY_S = 1.2  # the same key by two ways within a second is one press
_LET_GO_S = 1.5  # twice a second the vault lets go of what libraries hold


class Search:
    """The demo's searcher and ``paycall scan`` together, for the canaries alone."""

    def __init__(self) -> None:
        self._searcher = Searcher(CANARIES)
        self._forms = [
            form for card in CANARIES for form in number_forms(card.number) if "hashed" not in form[1]
        ]
        # Right-justified, as in ISO 8583's fields of fixed length; the searcher knows the other way.
        self._packed = [
            bytes.fromhex(n.rjust(len(n) + len(n) % 2, "0")) for n in (c.number for c in CANARIES)
        ]
        self._numbers = {card.number for card in CANARIES}

    def bytes(self, data: bytes, place: str) -> list[Finding]:
        """Bytes of any kind."""
        packed = [Finding(place, "number in packed decimal") for number in self._packed if number in data]
        return self._searcher.in_bytes(data, place) + packed + self._scanned(data, place)

    def text(self, data: bytes, place: str) -> list[Finding]:
        """Text, in which a code may be a word."""
        return self._searcher.in_text(data, place) + self._scanned(data, place)

    def file(self, path: Path) -> list[Finding]:
        """A file by what it is."""
        found = self._searcher.in_file(path)
        scanned = [one for one in scan_file(path) if one.digits in self._numbers]
        return found + [Finding(f"{path.name}: {one.where}", one.how) for one in scanned]

    def memory(self, pid: int, name: str, witness: bytes) -> list[Finding]:
        """A process's memory: the numbers in every form, a code next to a name or in quotation marks."""
        found: list[Finding] = []
        self.memory_holds_witness = False
        for block in blocks(pid):
            self.memory_holds_witness |= witness in block
            place = f"memory of {name}"
            found += [Finding(place, what) for form, what in self._forms if form in block]
            for code in _CODES:
                for piece in around(block, code, 40, 8):
                    found += self._searcher.in_bytes(piece, place)
        return found

    def _scanned(self, data: bytes, place: str) -> list[Finding]:
        return [Finding(place, hit.how) for hit in hits(data) if hit.digits in self._numbers]


@dataclass
class Left:
    """What the payment left behind, by place. ``witness`` was there and has to be found wherever it may be."""

    witness: bytes
    attempt: bytes = b"not yet"
    found: dict[str, list[Finding]] = field(default_factory=dict)
    searched: dict[str, bool] = field(default_factory=dict)  # whether the witness was found there
    codes_before: bytes = b""
    codes_after: bytes = b""
    went_on_without_keys: bool = False
    cell_held_keys: bool = False
    recorded_s: float = 0.0
    recorded_keys: int = 0
    cores: list[Path] = field(default_factory=list)
    core_control: bool = False
    agent_heard: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))
    processes: list[str] = field(default_factory=list)

    def take(self, place: str, data: bytes, findings: list[Finding]) -> None:
        """Note a place."""
        self.found.setdefault(place, []).extend(findings)
        self.searched[place] = self.searched.get(place, False) or self.witness in data or self.attempt in data


@contextmanager
def _cores_allowed() -> Iterator[None]:
    """As on a machine where somebody wants core dumps: what we start may write them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def tell_story(folder: Path) -> Left:
    """Live through it and search."""
    (folder / "rules.toml").write_text(_RULES)
    with tempfile.TemporaryDirectory(prefix="leak-", dir="/tmp") as short, _cores_allowed():
        base = Path(short)
        run = base / "var" / "run"
        (base / "var").mkdir(mode=0o700)
        extra = (
            f'vault_address = "unix:{run}/tap-vault.sock"\ncontrol_address = "unix:{run}/hub.sock"\n'
            "first_key_s = 3.0\nbetween_keys_s = 1.5\nfield_attempts = 12\n"
            "[media.recording]\nenabled = true\nnotice = false"
        )
        pairs = (
            (run / "tap-vault.sock", run / "vault-panel.sock"),
            (run / "control.sock", run / "hub.sock"),
        )
        with taps(*pairs) as (to_vault, to_cells):
            stack = start_stack(base, 1, extra, f'rules = "{folder}/rules.toml"')
            try:
                seat = Desk(stack)
                all_before_others(seat.process("media").pid)
                with capture.watched(stack.config):
                    left = _live(seat, folder)
                    left.take(
                        "panel and vault",
                        bytes(to_vault.heard),
                        Search().text(bytes(to_vault.heard), "vault"),
                    )
                    left.take(
                        "control link", bytes(to_cells.heard), Search().text(bytes(to_cells.heard), "link")
                    )
                    _crash(left, seat, folder)
            finally:
                stack.stop()
        _listen_to_recordings(left, stack.var, folder)
        for path in (*stack.log_paths, *stack.database_paths, base / "serve.out"):
            left.take(path.name, path.read_bytes(), Search().file(path))
    return left


def _live(seat: Desk, folder: Path) -> Left:
    answers = bytearray()

    def keep(response: httpx.Response) -> None:
        response.read()
        answers.extend(str(response.headers).encode() + response.content)

    seat.http.event_hooks["response"].append(keep)
    events = EventTap(seat.http)
    try:
        with phones(seat.stack) as both:
            payment_id, left = _pay(seat, both)
            _hang_up(seat, both, left)
            left.agent_heard = both.agent_heard(folder)
        for page in (*_PAGES, f"/payments/{payment_id}", f"/api/v1/payments/{payment_id}"):
            base = seat.http.base_url.copy_with(path="/")
            accept = "application/json" if page.startswith("/api") else "text/html"
            seat.http.get(base.join(page), headers={"accept": accept})
        for name, port in seat.stack.metrics_ports.items():
            figures = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
            assert figures.status_code == 200
            left.take("metrics", figures.content, Search().text(figures.content, f"metrics of {name}"))
        left.take("answers to the browser", bytes(answers), Search().text(bytes(answers), "answers"))
    finally:
        events.close()
        seat.http.close()
    left.take("event stream", bytes(events.heard), Search().text(bytes(events.heard), "events"))
    return left


def _pay(seat: Desk, both: Phones) -> tuple[str, Left]:
    """From the first key to the refund; memory is searched when all is answered."""
    both.call(seat.stack.sip_uris[0])
    payment_id = seat.pay(seat.call())
    left = Left(witness=payment_id.encode())
    wrong = DECLINED.number[:-1] + str((int(DECLINED.number[-1]) + 1) % 10)
    both.key(wrong + "#")
    _failed(seat, payment_id, "invalid-card-number")
    both.key(DECLINED.number[:9], "rfc4733")  # and then nothing: the field fails, and the one after it
    _failed(seat, payment_id, "input-timeout")
    both.key(DECLINED.number[:5] + "*", "info")
    time.sleep(_OTHER_WAY_S)
    both.key(DECLINED.number + "#", "rfc4733")
    until(lambda: seat.digits(payment_id, EXPIRY) == 0 and _stored(seat, payment_id, NUMBER), what="number")
    with _provider_away(seat.stack.var):
        both.key("1320")
        _key(both, DECLINED.expiry, lambda: "vault_unwell" in _log(seat), "refusal by the vault")
        left.went_on_without_keys = seat.call()["state"] == "connected" and both.ended() == [False, False]
        left.went_on_without_keys &= not _stored(seat, payment_id, EXPIRY)
    until(lambda: _stored(seat, payment_id, EXPIRY), what="expiry")
    seat.kill(seat.process("vault"))
    _key(
        both, DECLINED.security_code, lambda: seat.get(f"/payments/{payment_id}")["state"] == "ready", "ready"
    )
    vault = seat.process("vault").pid
    need_rights(vault)
    left.codes_before = code_block(vault)
    seat.post(f"/payments/{payment_id}/authorize")
    left.attempt = seat.payment(payment_id, "declined")["attempts"][0]["id"].encode()
    seat.take(payment_id, NUMBER, EXPIRY, CODE)
    both.key(LOST_ANSWER.number + "#", "info")
    both.key(LOST_ANSWER.expiry + LOST_ANSWER.security_code, "info")
    seat.payment(payment_id, "ready")
    seat.post(f"/payments/{payment_id}/authorize")
    seat.payment(payment_id, "settled")
    seat.post(f"/payments/{payment_id}/refund")
    seat.payment(payment_id, "refunded")
    time.sleep(_LET_GO_S)
    _look_into_processes(seat, left)
    left.codes_after = code_block(vault)
    return payment_id, left


def _key(both: Phones, digits: str, done: Callable[[], bool], what: str) -> None:
    """Key in the audio until it was heard: on a machine that stands still, a tone may be cut."""
    for _ in range(3):
        both.key(digits)
        with contextlib.suppress(AssertionError):
            until(done, 10, what)
            return
        digits = "*" + digits.removeprefix("*")
    raise AssertionError(what)


def _log(seat: Desk) -> str:
    return (seat.stack.var / "log" / "media.log").read_text("utf-8")


@contextmanager
def _provider_away(var: Path) -> Iterator[None]:
    """The vault's keys cannot be reached for a while."""
    keys, away = var / "vault" / "keys.json", var / "vault" / "away.json"
    keys.rename(away)
    try:
        yield
    finally:
        away.rename(keys)


def _hang_up(seat: Desk, both: Phones, left: Left) -> None:
    """A second payment on the call, broken off; the cell is searched also while it has to hold the digits."""
    payment_id = seat.pay(seat.call())
    both.key(UNFINISHED.number[:12], "rfc4733")
    until(lambda: seat.digits(payment_id, NUMBER) == 12, what="dots")
    search, cell = Search(), cell_of(seat)
    process = psutil.Process(cell)
    process.suspend()  # or the field's pause is over, and its digits are gone, while we look
    keyed = UNFINISHED.number[:12].encode()
    left.cell_held_keys = any(keyed in block for block in blocks(cell))
    process.resume()
    both.hang_up()
    seat.call("ended")
    time.sleep(_LET_GO_S)
    left.take("memory of cell", b"", search.memory(cell, "cell", left.witness))


def _listen_to_recordings(left: Left, var: Path, folder: Path) -> None:
    """Decrypt every recording: what the operator heard and said, with the tones and as bytes."""
    private = read_private_key(var / "recording.key")
    for one in recordings(var / "recordings"):
        target = folder / f"{one.header.recording_id}.wav"
        with target.open("wb") as file:
            export_wav(one.path, private, file)
        left.take("recordings", target.read_bytes(), Search().file(target))
        with wave.open(str(target), "rb") as sound:
            samples = np.frombuffer(sound.readframes(sound.getnframes()), dtype=np.int16)
            channels = samples.reshape(-1, sound.getnchannels())
            left.recorded_s += len(channels) / sound.getframerate()
        for channel in channels.T:
            left.recorded_keys += len(dsp.detect(np.ascontiguousarray(channel)))


def _failed(seat: Desk, payment_id: str, error: str) -> None:
    """Wait until the number was refused with this error."""
    until(lambda: _number(seat, payment_id)["error"] == error, what=error)


def _number(seat: Desk, payment_id: str) -> dict[str, object]:
    fields = seat.get(f"/payments/{payment_id}")["fields"]
    return next(one for one in fields if one["field"] == NUMBER)


def _stored(seat: Desk, payment_id: str, name: str) -> bool:
    fields = seat.get(f"/payments/{payment_id}")["fields"]
    return any(one["field"] == name and one["state"] == "stored" for one in fields)


def cell_of(seat: Desk) -> int:
    """The one cell's process."""
    for process in seat.process("media").children(recursive=True):
        if any(c.laddr.port == seat.stack.first_sip_port for c in process.net_connections("udp4")):
            return process.pid
    raise AssertionError("no process has the cell's port")


def _look_into_processes(seat: Desk, left: Left) -> None:
    """Every process of the stack: memory, open files, environment and command line."""
    assert seat.stack.process is not None
    supervisor = psutil.Process(seat.stack.process.pid)
    search, cell, vault = Search(), cell_of(seat), seat.process("vault").pid
    for process in (supervisor, *supervisor.children(recursive=True)):
        name = "cell" if process.pid == cell else " ".join(process.cmdline()[3:4]) or process.name()
        left.processes.append(name)
        begun = started_with(process.pid)
        left.take("started with", begun, search.text(begun, f"start of {name}"))
        for path, content in open_files(process.pid):
            left.take("open files", content, search.bytes(content, f"{path} of {name}"))
        if name in ("serve", "sandbox"):  # nothing keyed ever comes to the one; the other plays the acquirer
            continue
        kept = search.memory(process.pid, name, left.witness)
        if process.pid == vault:  # it may know the number: docs/security.md tells what Python cannot promise
            kept = [one for one in kept if one.what == "security code"]
        left.take(f"memory of {name}", left.witness if search.memory_holds_witness else b"", kept)


def _crash(left: Left, seat: Desk, folder: Path) -> None:
    """Abort vault and cell where core dumps are wanted, and a process without secrets beside them."""
    here = {*Path.cwd().glob("core*")}
    for pid in (seat.process("vault").pid, cell_of(seat)):
        process = psutil.Process(pid)
        process.send_signal(signal.SIGABRT)
        psutil.wait_procs([process], timeout=PATIENCE_S)
    left.cores = sorted({*Path.cwd().glob("core*")} - here)
    for core in left.cores:
        core.unlink()
    subprocess.run(["sh", "-c", "kill -ABRT $$"], cwd=folder, check=False)
    piped = (
        Path("/proc/sys/kernel/core_pattern").read_text("ascii").startswith("|")
    )  # nobody sees a file then
    left.core_control = piped or any(folder.glob("core*"))
