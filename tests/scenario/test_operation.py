"""What operators are given fits what the server says: every figure of the dashboard and of the alerts is there, with these labels.

Rules and expressions are tried by the real promtool; that each alert fires when it should is in deploy/prometheus/alerts_test.yml.
"""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.people import Refused, World
from tests.fakes.prometheus import Prometheus
from tests.fakes.server import ServerProcess
from tests.scenario.test_logs import logged
from tests.test_docs import anchors, headings, page, section

pytestmark = pytest.mark.anyio

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus/alerts.yml"
DASHBOARD = DEPLOY / "grafana/dashboards/secureconnect.json"
ADDED_BY_PROMETHEUS = {"instance", "job"}
OF_PROMETHEUS = {"up", "ALERTS"}
SELECTOR = re.compile(r"\b((?:secureconnect|process)_[a-z_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def promtool(*arguments: str, cwd: Path = DEPLOY / "prometheus") -> None:
    assert shutil.which("promtool"), "promtool is not installed: run tests/engines"
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def shown() -> Iterator[str]:
    """Every expression of the dashboard, with Grafana's variables filled in."""
    board = json.loads(DASHBOARD.read_text())
    targets = [target for panel in board["panels"] for target in panel.get("targets", ())]
    for expression in (*(one["expr"] for one in targets), *(one["expr"] for one in board["annotations"]["list"])):
        yield expression.replace("$__rate_interval", "1m").replace("$instance", ".+")


def test_rules_and_configuration_are_what_prometheus_takes() -> None:
    promtool("check", "rules", RULES.name)
    promtool("check", "config", "prometheus.yml")


def test_every_alert_fires_for_what_it_is_there_for_and_none_on_a_good_day() -> None:
    promtool("test", "rules", "alerts_test.yml")
    played = (DEPLOY / "prometheus/alerts_test.yml").read_text()
    assert {f'alertname="{alert["alert"]}",alertstate="firing"' in played for alert in alerts()} == {True}


def test_every_alert_says_what_to_do_and_where_that_is_written() -> None:
    written = set(re.findall(r"^### (\w+)$", section(page("operate.md"), "Alerts"), re.MULTILINE))
    assert written == {alert["alert"] for alert in alerts()}
    for alert in alerts():
        words = alert["annotations"]
        assert alert["labels"]["severity"] in {"page", "ticket"}
        assert words["description"].endswith("."), alert["alert"]
        file, _, anchor = words["runbook_url"].partition("#")
        assert anchor == alert["alert"].lower()
        assert anchor in anchors(DEPLOY.parent / file)
    assert len(headings(section(page("operate.md"), "Alerts"))) == len(alerts())


def test_every_expression_of_the_dashboard_can_be_read_by_prometheus(tmp_path: Path) -> None:
    rules = [{"record": f"shown:{number}", "expr": expression} for number, expression in enumerate(shown())]
    assert len(rules) > 40
    (tmp_path / "shown.yml").write_text(yaml.safe_dump({"groups": [{"name": "shown", "rules": rules}]}))
    promtool("check", "rules", "shown.yml", cwd=tmp_path)


def test_the_dashboard_is_laid_out_without_holes_and_every_panel_asks_a_question() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["type"] == "row" or panel["description"], panel["title"]
    assert len(taken) == 24 * (1 + max(y for _, y in taken))
    assert len({panel["id"] for panel in panels()}) == len(panels())
    folder = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/secureconnect.yml").read_text())
    assert folder["providers"][0]["options"]["path"] == "/etc/grafana/dashboards"


async def test_every_figure_that_is_used_is_shown_by_a_server_with_these_labels(world: World, server: ServerProcess) -> None:
    await play(world, server)
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        text = (await http.get(server.metrics_url)).text
    known: dict[str, set[tuple[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            known.setdefault(sample.name, set()).update(sample.labels.items())
    assert "secureconnect_relayed_total" in known
    expressions = [*shown(), *(alert["expr"] for alert in alerts())]
    for expression in expressions:
        for name, matchers in SELECTOR.findall(expression):
            assert name in known, f"{name} of {expression}"
            for label, how, value in MATCHER.findall(matchers):
                if label in ADDED_BY_PROMETHEUS:
                    continue
                values = {one for of, one in known[name] if of == label}
                assert values, f"{name} has no label {label}: {expression}"
                if how == "=" and label in {"le", "kind", "channel", "how"}:
                    assert value in values, f"{name}: {label} is never {value}: {expression}"
        for by in re.finditer(r"\bby \(([^)]*)\)", expression):
            wanted = {one.strip() for one in by[1].split(",")} - ADDED_BY_PROMETHEUS
            grouped = SELECTOR.search(expression, by.end())
            assert grouped is not None
            assert wanted <= {label for label, _ in known[grouped[1]]}, expression
    used = {name for expression in expressions for name in re.findall(r"\b(?:up|ALERTS)\b", expression)}
    assert used <= OF_PROMETHEUS


async def test_prometheus_asks_a_node_and_watches_it_by_our_rules(server: ServerProcess) -> None:
    async with Prometheus([server.metrics_port], interval="1s") as prometheus, asyncio.timeout(30):
        while True:
            rules = [rule for group in (await prometheus.ask("rules"))["groups"] for rule in group["rules"]]
            answered = await prometheus.ask("query", query='up{job="secureconnect"}')
            if answered["result"] and all(rule["health"] == "ok" for rule in rules):
                break
            await asyncio.sleep(0.1)  # it can only be asked
        assert [one["value"][1] for one in answered["result"]] == ["1"]
        assert {rule["name"] for rule in rules} == {alert["alert"] for alert in alerts()}
        lease = await prometheus.ask("query", query="secureconnect_lease_seconds")
        assert 0 < float(lease["result"][0]["value"][1]) <= 15


async def play(world: World, server: ServerProcess) -> None:
    """A little of everything that is only shown once it has happened."""
    ada, ben = await world.person("Ada"), await world.person("Ben")
    await ben.ask("PUT", f"/v1/devices/{ben.device_id}", {"platform": "android", "provider": "log", "token": uuid4().hex})
    conversation = await ada.converse(ben)
    call = await ada.initiate(conversation, ben)
    await logged(server, lambda line: line["event"] == "push")  # beside the call, and not after the answer
    await ben.join(call)
    at_ada, at_ben = await ada.signaling(call), await ben.signaling(call)
    await at_ada.say("no such thing", ref="refused")
    await at_ada.expect("error", ref="refused")
    with pytest.raises(Refused):
        await world.socket("/v1/ws/events", {}, {})
    at_ben.abort()
    await at_ada.expect("call")
    await ada.end(call)
    await at_ada.expect("leave")
    await at_ada.closed()
