"""RFC 4475's torture messages for SIP parsers, by the RFC's own names, as a sender puts them on the wire.

Written after the RFC's text (sections 3.1 to 3.4); ``{length}`` is the body's own length where the message is
right about it. SIP addresses are the RFC's documentation ones: who answers sends to where the datagram came from.
The SDP names a loopback address, so that no media leaves the machine.
"""

# ruff: noqa: E501 - messages stand as they go over the wire

from __future__ import annotations

_SDP = """v=0
o=mhandley 29739 7272939 IN IP4 192.0.2.3
s=-
c=IN IP4 127.0.0.9
t=0 0
m=audio 49217 RTP/AVP 0 12
m=video 3227 RTP/AVP 31
a=rtpmap:31 LPC
"""


def _message(head: str, body: str = "") -> bytes:
    """Lines with CRLF, the body's length filled in."""
    data = body.replace("\n", "\r\n").encode("latin-1")
    text = head.strip("\n").replace("\n", "\r\n").replace("{length}", str(len(data)))
    return text.encode("latin-1") + b"\r\n\r\n" + data


def _request(first: str, name: str, *lines: str, body: str = "", method: str | None = None) -> bytes:
    """A request that is right but for what ``lines`` (which replace headers of the same name) make of it."""
    method = method or first.split(" ")[0]
    headers = {
        "Via": f"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK.{name}",
        "To": "<sip:user@example.com>",
        "From": "<sip:caller@example.net>;tag=93942939o2",
        "Call-ID": f"{name}.0ha0isndaksdj99sdfafnl3lk233412",
        "CSeq": f"8 {method}",
        "Max-Forwards": "70",
        "Contact": "<sip:caller@host5.example.net>",
        "Content-Length": "{length}",
    }
    if body:
        headers["Content-Type"] = "application/sdp"
    own = [line.partition(":")[0] for line in lines if line]
    kept = [f"{key}: {value}" for key, value in headers.items() if key not in own and f"-{key}" not in own]
    return _message("\n".join([first, *(line for line in lines if not line.startswith("-")), *kept]), body)


_WSINV = """INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
Content-Length   : {length}
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33"""

_INTMETH = """!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0
Via: SIP/2.0/UDP host1.example.com;branch=z9hG4bK-.!%66*_+`'~
To: "BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>
From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%="\u00d1\u0080\u00d0\u00b0";tag=_token~1'+`*%!-.
Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/"][?}{
CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~
Max-Forwards: 255
extensionHeader-!.%*+_`'~:\u00ef\u00bb\u00bf\u00e5\u00a4\u00a7\u00e5\u0081\u009c\u00e9\u009b\u00bb
Content-Length: 0"""

_LONGREQ = f"""INVITE sip:user@example.com SIP/2.0
To: "I have a user name of {"extreme " * 10}proportion"<sip:user@example.com:6000;unknownparam1=very{"long" * 20}value;longparam{"name" * 25}=shortvalue;very{"long" * 25}ParameterNameWithNoValue>
F: sip:{"amazinglylongcallername" * 5}@example.net;tag=12{"982" * 50}424;unknownheaderparam{"name" * 20}=unknowheaderparam{"value" * 15};unknownValuelessparam{"name" * 10}
Call-ID: longreq.one{"really" * 20}longcallid
CSeq: 3882340 INVITE
Unknown-{"Long" * 20}-Name: unknown-{"long" * 20}-value; unknown-{"long" * 20}-parameter-name = unknown-{"long" * 20}-parameter-value
Via: SIP/2.0/TCP sip33.example.com
v: SIP/2.0/TCP sip32.example.com
{"".join(f"V: SIP/2.0/TCP sip{n}.example.com{chr(10)}" for n in range(31, 1, -1))}VIA: SIP/2.0/UDP host.example.com;received=192.0.2.5;branch=very{"long" * 50}branchvalue
Max-Forwards: 70
Contact: <sip:{"amazinglylongcallername" * 5}@host5.example.net>
Content-Type: application/sdp
l: {{length}}"""

_SHARED_MIME = """--7a9cbec02ceef655
Content-Type: text/plain
Content-Transfer-Encoding: binary

Hello
--7a9cbec02ceef655
Content-Type: application/octet-stream
Content-Transfer-Encoding: binary

0\u0082\u0001R\u0006\t*\u0086H\u0086\u00f7\r\u0001\u0007\u0002\u00a0\u0082\u0001C0\u0082\u0001?\u0002\u0001\u0001\u0001\u0001
--7a9cbec02ceef655--
"""

VALID: dict[str, bytes] = {  # 3.1.1
    "wsinv": _message(_WSINV, _SDP),
    "intmeth": _message(_INTMETH),
    "esc01": _request(
        "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0",
        "esc01",
        "To: sip:%75se%72@example.com",
        "From: <sip:I%20have%20spaces@example.net>;tag=938",
        "Contact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>",
        body=_SDP,
    ),
    "escnull": _request(
        "REGISTER sip:example.com SIP/2.0",
        "escnull",
        "To: sip:null-%00-null@example.com",
        "From: sip:null-%00-null@example.com;tag=839923423",
        "Contact: <sip:%00@host5.example.com>\nContact: <sip:%00%00@host5.example.com>",
    ),
    "esc02": _request(
        "RE%47IST%45R sip:registrar.example.com SIP/2.0",
        "esc02",
        'To: "%Z%45" <sip:resource@example.com>',
        'From: "%Z%45" <sip:resource@example.com>;tag=f232jadfj23',
        "Contact: <sip:alias1@host1.example.com>,\n <sip:alias2@host2.example.com>,\n sip:alias3@host3.example.com",
    ),
    "lwsdisp": _request(
        "OPTIONS sip:user@example.com SIP/2.0", "lwsdisp", "From: caller<sip:caller@example.com>;tag=323"
    ),
    "longreq": _message(_LONGREQ, _SDP),
    "dblreq": _request("REGISTER sip:example.com SIP/2.0", "dblreq", "To: sip:j.user@example.com")
    + _request("INVITE sip:joe@example.com SIP/2.0", "dblreq2", body=_SDP),
    "semiuri": _request(
        "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0", "semiuri", "Accept: application/sdp"
    ),
    "transports": _request(
        "OPTIONS sip:user@example.com SIP/2.0",
        "transports",
        "Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw\nVia: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf\n"
        "Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj\n"
        "Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en\nVia: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee",
    ),
    "mpart01": _request(
        "MESSAGE sip:kumiko@example.org SIP/2.0",
        "mpart01",
        "Content-Type: multipart/mixed;boundary=7a9cbec02ceef655",
        body=_SHARED_MIME,
    ),
    "unreason": _message(
        "SIP/2.0 200 = 2**3 * 5**2 \u00d0\u00bd\u00d0\u00be \u00d1\u0081\u00d1\u0082\u00d0\u00be\n"
        "Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\nCall-ID: unreason.1234ksdfak3j2erwedfsASdf\n"
        "CSeq: 35 INVITE\nFrom: sip:user@example.com;tag=11141343\nTo: sip:user@example.edu;tag=2229\n"
        "Content-Length: {length}\nContent-Type: application/sdp\nContact: <sip:user@host198.example.com>",
        _SDP,
    ),
    "noreason": _message(
        "SIP/2.0 100 \nVia: SIP/2.0/UDP 192.0.2.105;branch=z9hG4bK2398ndaoe\nCall-ID: noreason.asndj203insdf99223ndf\n"
        "CSeq: 35 INVITE\nFrom: <sip:user@example.com>;tag=39ansfi3\nTo: <sip:user@example.edu>;tag=902jndnke3\n"
        "Content-Length: 0\nContact: <sip:user@host105.example.com>"
    ),
}

INVALID: dict[str, bytes] = {  # 3.1.2
    "badinv01": _request(
        "INVITE sip:user@example.com SIP/2.0",
        "badinv01",
        "To: sip:j.user@example.com",
        "From: sip:caller@example.net;tag=134161461246",
        "Via: SIP/2.0/UDP 192.0.2.15;;,;,,",
        'Contact: "Joe" <sip:joe@example.org>;;;;',
        body=_SDP,
    ),
    "clerr": _request("INVITE sip:user@example.com SIP/2.0", "clerr", "Content-Length: 9999", body=_SDP),
    "ncl": _request("INVITE sip:user@example.com SIP/2.0", "ncl", "Content-Length: -999", body=_SDP),
    "scalar02": _request(
        "REGISTER sip:example.com SIP/2.0",
        "scalar02",
        "CSeq: 36893488147419103232 REGISTER",
        "Max-Forwards: 300",
        "Expires: 1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
        "Contact: <sip:user@host129.example.com>;expires=280297596632815",
    ),
    "scalarlg": _message(
        "SIP/2.0 503 Service Unavailable\nVia: SIP/2.0/UDP 192.0.2.129;branch=z9hG4bKzzxdiwo34sw;received=192.0.2.129\n"
        "To: <sip:user@example.com>\nFrom: <sip:other@example.net>;tag=2easdjfejw\nCSeq: 9292394834772304023312 OPTIONS\n"
        "Call-ID: scalarlg.noase0of0234hn2qofoaf0232aewf2394r\nRetry-After: 949302838503028349304023988\n"
        'Warning: 1812 overture "In Progress"\nContent-Length: 0'
    ),
    "quotbal": _request(
        "INVITE sip:user@example.com SIP/2.0",
        "quotbal",
        'To: "Mr. J. User <sip:j.user@example.com>',
        body=_SDP,
    ),
    "ltgtruri": _request("INVITE <sip:user@example.com> SIP/2.0", "ltgtruri", body=_SDP),
    "lwsruri": _request("INVITE sip:user@example.com; lr SIP/2.0", "lwsruri", body=_SDP),
    "lwsstart": _request("INVITE  sip:user@example.com  SIP/2.0", "lwsstart", body=_SDP),
    "trws": _request("OPTIONS sip:remote-target@example.com SIP/2.0  ", "trws"),
    "escruri": _request(
        "INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0", "escruri", body=_SDP
    ),
    "baddate": _request(
        "INVITE sip:user@example.com SIP/2.0", "baddate", "Date: Fri, 01 Jan 2010 16:00:00 EST", body=_SDP
    ),
    "regbadct": _request(
        "REGISTER sip:example.com SIP/2.0",
        "regbadct",
        "Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E",
    ),
    "badaspec": _request(
        "OPTIONS sip:user@example.org SIP/2.0",
        "badaspec",
        "Via: SIP/2.0/UDP host4.example.com:5060;branch=z9hG4bKkdju43234",
        'From: "Bell, Alexander" <sip:a.g.bell@example.com>;tag=433423',
        'To: "Watson, Thomas" < sip:t.watson@example.org >',
    ),
    "baddn": _request(
        "OPTIONS sip:t.watson@example.org SIP/2.0",
        "baddn",
        "From: Bell, Alexander <sip:a.g.bell@example.com>;tag=43",
    ),
    "badvers": _request(
        "OPTIONS sip:t.watson@example.org SIP/7.0",
        "badvers",
        "Via: SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw",
    ),
    "mismatch01": _request("OPTIONS sip:user@example.com SIP/2.0", "mismatch01", method="INVITE"),
    "mismatch02": _request(
        "NEWMETHOD sip:user@example.com SIP/2.0", "mismatch02", method="INVITE", body=_SDP
    ),
    "bigcode": _message(
        "SIP/2.0 4294967301 better not break the receiver\nVia: SIP/2.0/UDP 192.0.2.105;branch=z9hG4bK2398ndaoe\n"
        "Call-ID: bigcode.asdof3uj203asdnf3429uasdhfas3ehjasdfas9i\nCSeq: 353494 INVITE\n"
        "From: <sip:user@example.com>;tag=39ansfi3\nTo: <sip:user@example.edu>;tag=902jndnke3\nContent-Length: 0"
    ),
}

TRANSACTIONS: dict[str, bytes] = {  # 3.2 to 3.4
    "badbranch": _request(
        "OPTIONS sip:user@example.com SIP/2.0", "badbranch", "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK"
    ),
    "insuf": _message(
        "INVITE sip:user@example.com SIP/2.0\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf\nContent-Type: application/sdp\nl: {length}",
        _SDP,
    ),
    "unkscm": _request("OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", "unkscm"),
    "novelsc": _request("OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", "novelsc"),
    "unksm2": _request(
        "REGISTER sip:example.com SIP/2.0",
        "unksm2",
        "To: isbn:2983792873",
        "From: <http://www.example.com>;tag=3234233",
        "Contact: <name:John_Smith>",
    ),
    "bext01": _request(
        "OPTIONS sip:user@example.com SIP/2.0",
        "bext01",
        "Proxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis",
        "Require: nothingSupportsThis, nothingSupportsThisEither",
    ),
    "invut": _request(
        "INVITE sip:user@example.com SIP/2.0",
        "invut",
        "Content-Type: application/unknownformat",
        body='<audio>\n <pcmu port="443"/>\n</audio>\n',
    ),
    "regaut01": _request(
        "REGISTER sip:example.com SIP/2.0",
        "regaut01",
        "Authorization: NoOneKnowsThisScheme opaque-data=here",
    ),
    "multi01": _request(
        "INVITE sip:user@company.com SIP/2.0",
        "multi01",
        "CSeq: 5 INVITE\nCSeq: 59 INVITE",
        "Call-ID: multi01.98asdh@192.0.2.1\nCall-ID: multi01.98asdh@192.0.2.2",
        "From: sip:caller@example.com;tag=3413415\nFrom: sip:other@example.net;tag=2923420123",
        "To: sip:user@example.com\nTo: sip:other@example.net",
        "Max-Forwards: 70\nMax-Forwards: 5",
        body=_SDP,
    ),
    "mcl01": _request(
        "OPTIONS sip:user@example.com SIP/2.0",
        "mcl01",
        "Content-Length: 13\nContent-Length: 5",
        body="There's no way to know how many octets are supposed to be here.\n",
    ),
    "bcast": _message(
        "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\nVia: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23\n"
        "Call-ID: bcast.0384840201234ksdfak3j2erwedfsASdf\nCSeq: 35 INVITE\nFrom: sip:user@example.com;tag=11141343\n"
        "To: sip:user@example.edu;tag=2229\nContent-Length: {length}\nContent-Type: application/sdp\nContact: <sip:user@host28.example.com>",
        _SDP,
    ),
    "zeromf": _request("OPTIONS sip:user@example.com SIP/2.0", "zeromf", "Max-Forwards: 0"),
    "cparam01": _request(
        "REGISTER sip:example.com SIP/2.0",
        "cparam01",
        "Contact: sip:+19725552222@gw1.example.net;unknownparam",
    ),
    "cparam02": _request(
        "REGISTER sip:example.com SIP/2.0",
        "cparam02",
        "Contact: <sip:+19725552222@gw1.example.net;unknownparam>",
    ),
    "regescrt": _request(
        "REGISTER sip:example.com SIP/2.0",
        "regescrt",
        "Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>",
    ),
    "sdp01": _request(
        "INVITE sip:user@example.com SIP/2.0", "sdp01", "Accept: text/nobodyKnowsThis", body=_SDP
    ),
    "inv2543": _message(
        "INVITE sip:UserB@example.com SIP/2.0\nVia: SIP/2.0/UDP iftgw.example.com\nFrom: <sip:+13035551111@ift.client.example.net;user=phone>\n"
        "Record-Route: <sip:UserB@example.com;maddr=ss1.example.com>\nTo: sip:+16505552222@ss1.example.net;user=phone\n"
        "Call-ID: inv2543.1717@ift.client.example.com\nCSeq: 56 INVITE\nContent-Type: application/sdp",
        _SDP,
    ),
}

TORTURE = {**VALID, **INVALID, **TRANSACTIONS}
