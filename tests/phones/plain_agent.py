"""An operator's phone on a plain socket: for requests that sipp's scenarios cannot try one after the other."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time

from paycall.media.sip_text import SipMessage, parse_message
from tests.phones.site import until


class PlainAgent:
    """Answers INVITE with this SDP, and then whatever comes; ``refer`` and ``info`` ask for something."""

    def __init__(self, port: int, sdp: str) -> None:
        self._port = port
        body = sdp.replace("[local_ip]", "127.0.0.1").replace("\n", "\r\n")
        self._body = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        self._invite: SipMessage | None = None
        self._cseq = 10
        self._statuses: dict[int, int] = {}
        self.requests: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                data, self._peer = self._socket.recvfrom(65536)
            except OSError:
                return
            message = parse_message(data.decode("utf-8", "replace"))
            method = message.start.split(" ")[0]
            if method == "SIP/2.0":
                self._statuses[int(message.first("cseq").split()[0])] = int(message.start.split(" ")[1])
            elif method:
                self.requests.append(method)
                if method == "INVITE":
                    self._invite = message
                    self._answer(message, ";tag=plain", self._body)
                elif method != "ACK":
                    self._answer(message)

    def _answer(self, request: SipMessage, tag: str = "", body: str = "Content-Length: 0\r\n\r\n") -> None:
        lines = ["SIP/2.0 200 OK", *(f"Via: {via}" for via in request.all("via"))]
        lines += [f"From: {request.first('from')}", f"To: {request.first('to')}{tag}"]
        lines += [f"Call-ID: {request.first('call-id')}", f"CSeq: {request.first('cseq')}"]
        lines += [f"Contact: <sip:operator@127.0.0.1:{self._port}>", body]
        self._socket.sendto("\r\n".join(lines).encode(), self._peer)

    def refer(self, refer_to: str) -> int:
        """Ask for a transfer; gives the status of the answer."""
        return self._ask("REFER", f"Refer-To: {refer_to}")

    def info(self, content_type: str, body: str) -> int:
        """Send an INFO with exactly this body; gives the status of the answer."""
        return self._ask("INFO", f"Content-Type: {content_type}", body)

    def _ask(self, method: str, header: str, body: str = "") -> int:
        assert self._invite is not None
        self._cseq += 1
        cseq = self._cseq
        contact = re.findall("<([^>]*)>", self._invite.first("contact"))[0]
        branch = f"z9hG4bKplain{time.monotonic_ns()}"
        via = f"Via: SIP/2.0/UDP 127.0.0.1:{self._port};rport;branch={branch}"
        lines = [f"{method} {contact} SIP/2.0", via]
        lines += [f"From: {self._invite.first('to')};tag=plain", f"To: {self._invite.first('from')}"]
        lines += [f"Call-ID: {self._invite.first('call-id')}", f"CSeq: {cseq} {method}"]
        lines += [f"Contact: <sip:operator@127.0.0.1:{self._port}>", "Max-Forwards: 70"]
        lines += [header, f"Content-Length: {len(body)}", "", body]
        self._socket.sendto("\r\n".join(lines).encode(), self._peer)
        return int(until(lambda: self._statuses.get(cseq), what=f"answer to the {method}"))

    def close(self) -> None:
        """Be gone."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(2.0)
