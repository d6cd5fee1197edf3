#!/usr/bin/env python3
"""A delivery worker: asks CAVRA what may be sent again, sends it, and reports what happened.

CAVRA sends nothing and holds no address or credential. Those are the worker's: it runs where the operator runs it, with
the operator's own configuration, and tells CAVRA only provider, status and times. It needs Python 3.10 and nothing else.

    retry_worker.py --api http://127.0.0.1:8000 --targets targets.json [--token-file FILE] [--dry-run]

targets.json says where each provider takes exports, by the provider's name:

    {"webhook": {"url": "https://receiver.example.org/exports", "headers_file": "webhook-headers.json"}}

The worker delivers at least once: if it dies between sending and reporting, the next run sends again. The request's
`Idempotency-Key` is the same then, so that a receiver can tell.
"""

import argparse
import datetime
import email.utils
import json
import pathlib
import sys
import urllib.error
import urllib.parse
import urllib.request

BASE = "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/audit-delivery"
EXPORT = f"{BASE}/final-reporting-auditor-export"
TIMEOUT_SECONDS = 30


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """An export goes where the operator said, and nowhere else."""

    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(NoRedirect)


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


class Cavra:
    """The three calls that a worker needs."""

    def __init__(self, address, token):
        self.address = address.rstrip("/")
        self.headers = {"authorization": f"Bearer {token}"} if token else {}

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = self.headers | ({} if body is None else {"content-type": "application/json"})
        request = urllib.request.Request(self.address + path, data, headers)
        with OPENER.open(request, timeout=TIMEOUT_SECONDS) as answer:
            return answer.read()

    def retry_plan(self):
        return json.loads(self.call(f"{EXPORT}/delivery-retry-plan", {"generated_by": "retry-worker"}))["plan"]

    def export(self, export_id):
        return self.call(f"{BASE}/final-reporting-auditor-exports/{urllib.parse.quote(export_id, safe='')}")

    def report(self, delivery):
        return json.loads(self.call(f"{EXPORT}/deliveries", delivery | {"reported_by": "retry-worker"}))


def retry_after_seconds(header):
    """`Retry-After` is a number of seconds or a date (RFC 9110 10.2.3)."""
    if header is None:
        return None
    if header.strip().isdigit():
        return min(int(header), 315_360_000)
    try:
        at = email.utils.parsedate_to_datetime(header)
    except (TypeError, ValueError):
        return None
    wait = at - datetime.datetime.now(datetime.timezone.utc)
    return max(0, int(wait.total_seconds()))


def deliver(target, decision, document):
    """Sends one export once, and says what came of it. No text of the receiver is repeated."""
    headers = {"content-type": "application/json"}
    if "headers_file" in target:
        headers |= json.loads(pathlib.Path(target["headers_file"]).read_text())
    headers["idempotency-key"] = f"{decision['export_id']}-{decision['latest_delivery_id']}"
    outcome = {"export_id": decision["export_id"], "provider": decision["provider"], "started_at": now()}
    try:
        with OPENER.open(urllib.request.Request(target["url"], document, headers), timeout=TIMEOUT_SECONDS) as answer:
            outcome |= {"success": True, "status_code": answer.status}
    except urllib.error.HTTPError as refused:
        outcome |= {"success": False, "status_code": refused.code, "error_class": "refused"}
        wait = retry_after_seconds(refused.headers.get("retry-after"))
        if wait is not None:
            outcome["retry_after_seconds"] = wait
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        timed_out = isinstance(getattr(error, "reason", error), TimeoutError)
        outcome |= {"success": False, "status_code": 0, "error_class": "timeout" if timed_out else "unreachable"}
    return outcome | {"completed_at": now()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--api", required=True, help="where CAVRA listens, such as http://127.0.0.1:8000")
    parser.add_argument("--targets", required=True, type=pathlib.Path, help="JSON: provider to url and headers_file")
    parser.add_argument("--token-file", type=pathlib.Path, help="a bearer token with delivery.record and retry.plan.create")
    parser.add_argument("--dry-run", action="store_true", help="show what would be sent; a plan is stored all the same")
    options = parser.parse_args()
    # CAVRA compares provider names in this form.
    targets = {
        name.strip().lower().replace("-", "_"): target for name, target in json.loads(options.targets.read_text()).items()
    }
    cavra = Cavra(options.api, options.token_file.read_text().strip() if options.token_file else None)
    plan = cavra.retry_plan()
    print(f"plan {plan['retry_plan_id']}: {plan['retryable_count']} to send, {plan['waiting_count']} to wait for, "
          f"{plan['suppressed_count']} given up")
    failed = 0
    for decision in plan["retry_decisions"]:
        name = f"{decision['export_id']} to {decision['provider']}"
        target = targets.get(decision["provider"].strip().lower().replace("-", "_"))
        if decision["action"] != "retry":
            print(f"{name}: {decision['action']}, {decision['reason']}")
        elif not decision["export_known"]:
            print(f"{name}: not sent, CAVRA does not have this export")
            failed += 1
        elif target is None:
            print(f"{name}: not sent, no target is configured for this provider")
            failed += 1
        elif options.dry_run:
            print(f"{name}: would be sent")
        else:
            outcome = deliver(target, decision, cavra.export(decision["export_id"]))
            cavra.report(outcome)
            failed += not outcome["success"]
            print(f"{name}: {'delivered' if outcome['success'] else 'failed'} with status {outcome['status_code']}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
