"""Drives sipp: scenarios as text, started with its own port, ended by itself or by its process id."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from tests.phones.rtp import before_others, free_port
from tests.phones.site import PATIENCE_S

_HEAD = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<scenario name="{name}">\n'
_SDP = """v=0
o=user1 53655765 2353687637 IN IP4 [local_ip]
s=-
c=IN IP4 {rtp_address}
t=0 0
m=audio {rtp_port} RTP/AVP {codecs} {event_type}
{rtpmap}a=rtpmap:{event_type} telephone-event/8000
a=fmtp:{event_type} 0-15
a=ptime:20
{direction}"""
_RTPMAP = {0: "a=rtpmap:0 PCMU/8000\n", 8: "a=rtpmap:8 PCMA/8000\n", 9: "a=rtpmap:9 G722/8000\n"}


def sdp(
    rtp_port: int,
    codecs: tuple[int, ...] = (8,),
    event_type: int = 101,
    direction: str = "sendrecv",
    rtp_address: str = "127.0.0.1",
) -> str:
    """An offer or answer that names a port of ours."""
    return _SDP.format(
        rtp_address=rtp_address,
        rtp_port=rtp_port,
        codecs=" ".join(str(codec) for codec in codecs),
        event_type=event_type,
        rtpmap="".join(_RTPMAP[codec] for codec in codecs),
        direction=f"a={direction}\n",
    )


def message(text: str, body: str = "", attributes: str = "", content_type: str = "application/sdp") -> str:
    """A <send> element. ``text`` is the start line and headers."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if body:
        lines += [f"Content-Type: {content_type}", "Content-Length: [len]", ""]
        lines += [*body.rstrip("\n").splitlines(), ""]
    else:
        lines += ["Content-Length: 0", ""]
    return f"<send {attributes}>\n<![CDATA[\n" + "\n".join(lines) + "\n]]>\n</send>\n"


def receive(what: str, attributes: str = "", actions: str = "") -> str:
    """A <recv> element for a request's method or a response's code."""
    kind = "response" if what.isdigit() else "request"
    inner = f"<action>{actions}</action>" if actions else ""
    return f'<recv {kind}="{what}" {attributes}>{inner}</recv>\n'


def scenario(name: str, *steps: str) -> str:
    """A whole scenario file."""
    text = "".join(steps)
    used = sorted(set(re.findall(r'assign_to="([0-9,]+)"', text)))
    names = ",".join(sorted({name for group in used for name in group.split(",")}))
    reference = f'<Reference variables="{names}"/>\n' if names else ""
    return _HEAD.format(name=name) + text + reference + "</scenario>\n"


_LAST_WORD_S = 0.5
VIA = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]"
CONTACT = "Contact: <sip:{user}@[local_ip]:[local_port];transport=[transport]>"
_CALLER_FROM = "From: Caller <sip:{user}@[local_ip]:[local_port]>;tag=[pid]caller[call_number]"


def invite(user: str, body: str, headers: str = "", cseq: int = 1, to_tag: bool = False) -> str:
    """The caller's INVITE (or re-INVITE with ``to_tag``)."""
    target = "[next_url]" if to_tag else "sip:[service]@[remote_ip]:[remote_port]"
    return message(
        f"""INVITE {target} SIP/2.0
        {VIA}
        {"[routes]" if to_tag else ""}
        {_CALLER_FROM.format(user=user)}
        To: <sip:[service]@[remote_ip]:[remote_port]>{"[peer_tag_param]" if to_tag else ""}
        Call-ID: [call_id]
        CSeq: {cseq} INVITE
        {CONTACT.format(user=user)}
        Max-Forwards: 70
        {headers}""".replace("\n        \n", "\n").rstrip(),
        body,
        'retrans="500"',
    )


def in_dialog(
    method: str,
    user: str,
    cseq: int,
    body: str = "",
    content_type: str = "application/sdp",
    headers: str = "",
) -> str:
    """A request of the caller's inside the dialog."""
    return message(
        f"""{method} [next_url] SIP/2.0
        {VIA}
        [routes]
        {_CALLER_FROM.format(user=user)}
        To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
        Call-ID: [call_id]
        CSeq: {cseq} {method}
        {CONTACT.format(user=user)}
        Max-Forwards: 70
        {headers}""".rstrip(),
        body,
        "" if method == "ACK" else 'retrans="500"',
        content_type,
    )


def reply(
    status: str,
    body: str = "",
    headers: str = "",
    user: str = "operator",
    attributes: str = "",
    cseq: str = "[last_CSeq:]",
) -> str:
    """A response of the agent's. ``cseq`` for an INVITE that is answered after another request has come."""
    return message(
        f"""SIP/2.0 {status}
        [last_Via:]
        [last_From:]
        [last_To:];tag=[pid]agent[call_number]
        [last_Call-ID:]
        {cseq}
        [last_Record-Route:]
        {CONTACT.format(user=user)}
        {headers}""".rstrip(),
        body,
        attributes,
    )


def pause(milliseconds: int) -> str:
    """A <pause> element."""
    return f'<pause milliseconds="{milliseconds}"/>\n'


def caller(
    rtp_port: int, user: str = "4930123456", hold_ms: int = 60_000, headers: str = "", **kwargs: object
) -> str:
    """A caller that hangs up after ``hold_ms``, or waits for our BYE when that is 0."""
    ending = (
        [pause(hold_ms), in_dialog("BYE", user, 2), receive("200")]
        if hold_ms
        else [receive("BYE", 'timeout="120000"'), message(ANSWER_OK)]
    )
    return scenario(
        "caller",
        invite(user, sdp(rtp_port, **kwargs), headers),  # type: ignore[arg-type]
        receive("100", 'optional="true"'),
        receive("180", 'optional="true"'),
        receive("183", 'optional="true"'),
        receive("200", 'rrs="true"', RTP_OF_PEER),
        in_dialog("ACK", user, 1),
        *ending,
    )


ANSWER_OK = """SIP/2.0 200 OK
        [last_Via:]
        [last_From:]
        [last_To:]
        [last_Call-ID:]
        [last_CSeq:]"""
# writes media port and event payload type of the peer's SDP into the log file, where ``Sipp.peer_rtp`` finds them
RTP_OF_PEER = (
    '<ereg regexp="m=audio ([0-9]+) " search_in="body" check_it="true" assign_to="1,2"/>'
    '<ereg regexp="a=rtpmap:([0-9]+) telephone-event" search_in="body" assign_to="6,7"/>'
    '<log message="rtp [$2] event [$7]"/>'
)


def agent(rtp_port: int, hold_ms: int = 0, ring_ms: int = 100, **kwargs: object) -> str:
    """An operator's phone that answers, and hangs up after ``hold_ms`` or waits for the BYE when that is 0."""
    ok = reply("200 OK", sdp(rtp_port, **kwargs), attributes='retrans="500"')  # type: ignore[arg-type]
    ending = (
        [pause(hold_ms), agent_request("BYE", 1), receive("200")]
        if hold_ms
        else [receive("BYE", 'timeout="120000"'), message(ANSWER_OK)]
    )
    return scenario(
        "agent",
        receive("INVITE", 'crlf="true" rrs="true"', RTP_OF_PEER + KEEP_DIALOG),
        reply("180 Ringing"),
        pause(ring_ms),
        ok,
        acknowledged(),
        *ending,
    )


def acknowledged() -> str:
    """The ACK to a 200 that followed a 180 or 183.

    To sipp an INVITE that comes again is one it knows only until it has sent its second answer: on a machine that is
    late with the first, PJSIP has asked again by then, and the call would be aborted.
    """
    return receive("INVITE", 'optional="true"') + receive("ACK")


def refused(status: str) -> str:
    """A caller who is told this status, ringing or not before."""
    return scenario(
        "refused",
        invite("4930123456", sdp(free_port())),
        receive("100", 'optional="true"'),
        receive("180", 'optional="true"'),
        receive(status),
        in_dialog("ACK", "4930123456", 1),
    )


def refusing(status: str) -> str:
    """A phone that answers with this status line and nothing else."""
    return scenario("refusing", receive("INVITE"), reply(status), receive("ACK"))


KEEP_CSEQ = '<ereg regexp=".*" search_in="hdr" header="CSeq:" assign_to="8"/>'
KEPT_CSEQ = "CSeq:[$8]"
KEEP_INVITE = (
    '<ereg regexp=".*" search_in="hdr" header="CSeq:" assign_to="8"/>'
    '<ereg regexp=".*" search_in="hdr" header="Via:" assign_to="10"/>'
)
# answers the INVITE that KEEP_INVITE kept, after another request has come
LATER_ANSWER = """SIP/2.0 {status}
        Via:[$10]
        [last_From:]
        [last_To:]
        [last_Call-ID:]
        CSeq:[$8]
        Contact: <sip:operator@[local_ip]:[local_port];transport=[transport]>"""
KEEP_DIALOG = (
    '<ereg regexp=".*" search_in="hdr" header="From:" assign_to="3"/>'
    '<ereg regexp=".*" search_in="hdr" header="To:" assign_to="4"/>'
    '<ereg regexp="sip:[^>;]*" search_in="hdr" header="Contact:" assign_to="5"/>'
)


def agent_request(
    method: str, cseq: int, body: str = "", content_type: str = "application/sdp", headers: str = ""
) -> str:
    """A request of the agent's inside the dialog that it answered."""
    return message(
        f"""{method} [$5] SIP/2.0
        {VIA}
        [routes]
        From:[$4];tag=[pid]agent[call_number]
        To:[$3]
        Call-ID: [call_id]
        CSeq: {cseq} {method}
        {CONTACT.format(user="operator")}
        Max-Forwards: 70
        {headers}""".rstrip(),
        body,
        "" if method == "ACK" else 'retrans="500"',
        content_type,
    )


class Sipp:
    """One sipp process."""

    def __init__(
        self,
        text: str,
        port: int,
        target: str | None = None,
        *,
        calls: int = 1,
        rate: float = 1.0,
        limit: int = 50,
        transport: str = "u1",
        service: str = "paycall",
        seconds: int = 120,
        address: str = "127.0.0.1",
    ) -> None:
        self._dir = tempfile.TemporaryDirectory(prefix="sipp-")
        folder = Path(self._dir.name)
        (folder / "scenario.xml").write_text(text, "latin-1")
        self._log = folder / "log"
        self._errors = folder / "errors"
        command = ["sipp", "-sf", "scenario.xml", "-i", address, "-p", str(port), "-m", str(calls)]
        command += ["-r", str(rate), "-l", str(limit), "-t", transport, "-s", service, "-nostdin"]
        command += [
            "-trace_logs",
            "-log_file",
            str(self._log),
            "-trace_err",
            "-error_file",
            str(self._errors),
        ]
        command += ["-timeout", f"{seconds}s", "-timeout_error", "-mp", str(free_port(count=4))]
        if target:
            command.append(target)
        self._output = (folder / "output").open("wb")
        self._answers_one = target is None and calls == 1
        self.process = subprocess.Popen(command, cwd=folder, stdout=self._output, stderr=subprocess.STDOUT)
        before_others(self.process.pid)
        if target is None:
            self._await_port(port)

    def _await_port(self, port: int, timeout_s: float = PATIENCE_S) -> None:
        """Until the phone listens: a call that comes before finds nobody, and ends at once."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(psutil.Error):
                found = psutil.Process(self.process.pid).net_connections("inet")
                if any(connection.laddr.port == port for connection in found):
                    return
            time.sleep(0.02)

    def peer_rtp(self, timeout_s: float = PATIENCE_S) -> int:
        """The other side's RTP port, once its SDP has come."""
        return self.peer_rtps(1, timeout_s)[0]

    def peer_event_type(self) -> int:
        """The payload type that the other side's SDP gives to RFC 4733 events."""
        return int(re.findall(r"event (\d+)", self.log())[0])

    def peer_rtps(self, count: int, timeout_s: float = PATIENCE_S) -> list[int]:
        """The other sides' RTP ports, in order."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            found = re.findall(r"rtp (\d+) event.*\n", self.log())  # whole lines: it is being written
            if len(found) >= count:
                return [int(port) for port in found[:count]]
            if self.process.poll() not in (None, 0):
                break
            time.sleep(0.02)
        raise AssertionError(f"sipp saw no SDP: {self.errors()}")

    def log(self) -> str:
        """All that the scenario logged."""
        return self._log.read_text("latin-1") if self._log.exists() else ""

    def logged(self, word: str) -> str:
        """What the scenario logged after this word, the last time."""
        lines = [line for line in self.log().splitlines() if line.startswith(word)]
        return lines[-1].removeprefix(word) if lines else ""

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """sipp's exit code: 0 if every call went as the scenario says."""
        return self.process.wait(timeout_s)

    def errors(self) -> str:
        """What sipp complained about; that it had to wait for a core is no complaint."""
        text = self._errors.read_text("latin-1") if self._errors.exists() else ""
        lines = [line for line in text.splitlines() if "Overload warning" not in line]
        return "" if lines == ["The following events occurred:"] else "\n".join(lines)[-2000:]

    def close(self) -> None:
        """End it, if it has not ended.

        Who answers one call is let hear its end, if it is near: an ACK that is still under way would be the first
        that the next phone at this port hears, and no call.
        """
        if self._answers_one:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_LAST_WORD_S)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._output.close()
        self._dir.cleanup()
