"""Figures for Prometheus: after a whole payment they tell what happened, and nothing of card or caller."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from paycall.demo import cards
from paycall.demo.cards import APPROVED, DECLINED
from paycall.demo.leaks import Searcher
from paycall.domain.authorization import OperationOutcome, Outcome
from paycall.domain.call import EndReason
from paycall.domain.fields import CaptureError, Field
from paycall.domain.payment import PaymentState
from paycall.media.keys import Way
from tests.phones.desk import CODE, EXPIRY, NUMBER, Desk, desk
from tests.phones.scripted import phones
from tests.phones.site import PATIENCE_S, until

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "config" / "prometheus"
PROMTOOL = str(ROOT / "build" / "tools" / "promtool")
WORDS = {
    *EndReason,
    *CaptureError,
    *Field,
    *PaymentState,
    *Outcome,
    *OperationOutcome,
    *(way.value for way in Way),
    *"asked-for key-on-agent-leg bridge-connection audio-path-error".split(),
    *"starting ready draining gone retired lost".split(),
    *"cell panel sandbox authorize look-up settle void refund reverse stored done refused locked".split(),
}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Figures:
    """What the three processes of a stack show."""

    def __init__(self, seat: Desk) -> None:
        self.texts = {name: self._read(port) for name, port in seat.stack.metrics_ports.items()}
        self.samples: Samples = {}
        for text in self.texts.values():
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    self.samples[sample.name, tuple(sorted(sample.labels.items()))] = sample.value

    @staticmethod
    def _read(port: int) -> str:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S, trust_env=False)
        assert answer.status_code == 200
        return answer.text

    def value(self, name: str, **labels: str) -> float:
        """A sample's value; 0 if it is not shown."""
        return self.samples.get((name, tuple(sorted(labels.items()))), 0.0)

    @property
    def names(self) -> set[str]:
        """Every name."""
        return {name for name, _ in self.samples}


def keyed(card: cards.TestCard) -> str:
    """What a caller keys."""
    return f"{card.number}#{card.expiry}{card.security_code}"


@pytest.fixture(scope="module")
def figures() -> Iterator[Figures]:
    """A stack after a call: two cards in two ways, a decline, an approval, and a sign-in that failed."""
    with desk(cells=1) as seat, phones(seat.stack) as line, seat.http.stream("GET", "/events"):
        line.call(seat.stack.sip_uris[0])
        call = seat.call()
        payment = seat.pay(call)
        for card, mode, outcome in ((DECLINED, "inband", "declined"), (APPROVED, "rfc4733", "settled")):
            line.key(keyed(card), mode)
            seat.payment(payment, "ready")
            seat.post(f"/payments/{payment}/authorize")
            seat.payment(payment, outcome)
            if outcome == "declined":
                seat.take(payment, NUMBER, EXPIRY, CODE)
        seat.payment(payment, lambda p: not p["masked"])
        wrong = httpx.post(
            f"{seat.stack.panel_url}/api/v1/session",
            json={"name": seat.stack.operator, "password": "not-the-password-1"},
            trust_env=False,
        )
        assert wrong.status_code == 403
        line.hang_up()
        seat.call("ended")
        yield until(lambda: all_over(Figures(seat)), what="figures of a call that is over")


def all_over(figures: Figures) -> Figures | None:
    """The figures, if the call has ended, its places are free and its card is dropped."""
    ended = figures.value("paycall_media_calls_ended_total", reason="caller-hung-up")
    rest = figures.value("paycall_media_free_calls"), figures.value("paycall_vault_cards")
    return figures if (ended, *rest) == (1, 2, 0) else None


def test_they_tell_what_happened(figures: Figures) -> None:
    expected = {
        ("paycall_media_calls_total", ()): 1,
        ("paycall_media_calls_connected_total", ()): 1,
        ("paycall_media_captures_started_total", ()): 1,
        ("paycall_media_captures_completed_total", ()): 2,
        ("paycall_media_captures_ended_total", (("reason", "asked-for"),)): 1,
        ("paycall_media_agent_leg_keys_total", ()): 0,
        ("paycall_media_keys_total", (("way", "audio"),)): len(keyed(DECLINED)),
        ("paycall_media_keys_total", (("way", "rtp-event"),)): len(keyed(APPROVED)),
        ("paycall_media_fields_stored_total", (("field", NUMBER),)): 2,
        ("paycall_media_cells", (("state", "ready"),)): 1,
        ("paycall_media_free_calls", ()): 2,
        ("paycall_media_panel_connected", ()): 1,
        ("paycall_vault_fields_total", (("field", CODE), ("outcome", "stored"))): 2,
        ("paycall_vault_cards", ()): 0,  # dropped when the payment was settled
        ("paycall_vault_key_version", ()): 1,
        ("paycall_vault_unknown_authorizations", ()): 0,
        ("paycall_vault_breaker_open", (("acquirer", "sandbox"), ("operation", "authorize"))): 0,
        ("paycall_vault_acquirer_seconds_count", (("acquirer", "sandbox"), ("operation", "authorize"))): 2,
        ("paycall_panel_payments", (("state", "settled"),)): 1,
        ("paycall_panel_payments", (("state", "unknown"),)): 0,
        ("paycall_panel_sign_ins_total", (("result", "done"),)): 1,
        ("paycall_panel_sign_ins_total", (("result", "refused"),)): 1,
        ("paycall_panel_streams", ()): 1,
        ("paycall_panel_operators", ()): 1,
    }
    assert {key: figures.samples.get(key) for key in expected} == expected
    for outcome in ("approved", "declined"):
        labels = {"acquirer": "sandbox", "operation": "authorize", "outcome": outcome}
        assert figures.value("paycall_vault_acquirer_requests_total", **labels) == 1
    assert figures.value("paycall_panel_key_to_dot_seconds_count") >= len(keyed(DECLINED))
    keys = len(keyed(DECLINED)) + len(keyed(APPROVED))
    assert figures.value("paycall_media_key_told_seconds_count") == keys
    assert figures.value("paycall_media_key_told_seconds_bucket", le="0.5") > keys / 2
    assert figures.value("paycall_vault_audit_entries") > 5
    assert figures.value("paycall_media_cells_pss_bytes") > 1e6


def test_no_label_holds_card_caller_or_anything_without_a_bound(figures: Figures) -> None:
    search = Searcher((DECLINED, APPROVED))
    for name, text in figures.texts.items():
        assert search.in_text(text.encode(), name) == []
    for name, labels in figures.samples:
        assert name.startswith(("paycall_", "process_"))
        for label, value in labels:
            number = label == "le" and re.fullmatch(r"[0-9.]+|\+Inf", value)
            assert number or value in WORDS, (name, label)
    assert len(figures.samples) < 400


def test_every_figure_of_the_alert_rules_exists(figures: Figures) -> None:
    rules = yaml.safe_load((CONFIG / "alerts.yml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    assert {rule["alert"] for rule in alerts} >= {
        "PaycallMaskAlarm",
        "PaycallUnknownPayments",
        "PaycallNoFreeCall",
        "PaycallAcquirerLeftAlone",
    }
    for rule in alerts:
        named = set(re.findall(r"\bpaycall_[a-z_]+", rule["expr"]))
        assert named or rule["expr"].startswith("up{"), rule["alert"]
        assert named <= figures.names, rule["alert"]
        assert {"summary", "description"} <= set(rule["annotations"])


def promtool(*arguments: str, said: str = "") -> None:
    """Prometheus's own check must find nothing."""
    done = subprocess.run([PROMTOOL, *arguments], input=said, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_itself_takes_figures_and_settings(figures: Figures) -> None:
    for text in figures.texts.values():
        promtool("check", "metrics", said=text)
    promtool("check", "config", str(CONFIG / "prometheus.yml"))


@pytest.mark.parametrize(
    ("alert", "series", "labels"),
    [
        ("PaycallMaskAlarm", "paycall_media_mask_alarms_total", {"kind": "bridge-connection"}),
        ("PaycallUnknownPayments", "paycall_vault_unknown_authorizations", {}),
        ("PaycallAcquirerLeftAlone", "paycall_vault_breaker_open", {"acquirer": "sandbox"}),
    ],
    ids=["mask", "unknown", "breaker"],
)
def test_the_alerts_that_matter_are_raised(
    alert: str, series: str, labels: dict[str, str], tmp_path: Path
) -> None:
    named = ",".join(f'{name}="{value}"' for name, value in labels.items())
    rises = "0x12 1x9" if series.endswith("_total") else "0 0 0 1x19"
    case = {
        "rule_files": [str(CONFIG / "alerts.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": f"{series}{{{named}}}", "values": rises}],
                "promql_expr_test": [
                    {
                        "expr": f'count by (alertname) (ALERTS{{alertname="{alert}",alertstate="firing"}})',
                        "eval_time": moment,
                        "exp_samples": samples,
                    }
                    for moment, samples in (
                        ("1m", []),
                        ("14m", [{"labels": f'{{alertname="{alert}"}}', "value": 1}]),
                    )
                ],
            }
        ],
    }
    file = tmp_path / "case.yml"
    file.write_text(yaml.safe_dump(case))
    promtool("test", "rules", str(file))
