"""docs/examples/retry_worker.py against a real server and a receiver of our own. Arguments: address, worker, folder."""

import http.server
import json
import pathlib
import subprocess
import sys
import threading
import unittest
import urllib.request

ADDRESS, WORKER, FOLDER = sys.argv.pop(1), sys.argv.pop(1), pathlib.Path(sys.argv.pop(1))
EXPORT = "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/audit-delivery/final-reporting-auditor-export"


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes what goes to /good, and asks to wait at /busy."""

    taken = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        Receiver.taken.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(200 if self.path == "/good" else 503)
        if self.path != "/good":
            self.send_header("retry-after", "120")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def plan():
    request = urllib.request.Request(
        f"{ADDRESS}{EXPORT}/delivery-retry-plan", b"{}", {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["plan"]


def actions(document):
    return {
        (decision["export_id"], decision["provider"]): decision["action"] for decision in document["retry_decisions"]
    }


class RetryWorker(unittest.TestCase):
    def test_what_may_be_sent_again_is_sent_once_and_reported(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        here = f"http://127.0.0.1:{server.server_port}"
        headers = FOLDER / "headers.json"
        headers.write_text(json.dumps({"x-receiver-key": "only-the-worker-knows"}))
        targets = FOLDER / "targets.json"
        targets.write_text(json.dumps({
            "Webhook": {"url": f"{here}/good", "headers_file": str(headers)},
            "splunk": {"url": f"{here}/busy"},
            "teams": {"url": "http://127.0.0.1:9/closed"},
        }))
        before = actions(plan())
        due = {key for key, action in before.items() if action == "retry"}
        self.assertTrue({"webhook", "splunk", "teams", "service-now"} <= {provider for _, provider in due}, before)

        run = [sys.executable, WORKER, "--api", ADDRESS, "--targets", str(targets)]
        dry = subprocess.run([*run, "--dry-run"], capture_output=True, text=True, timeout=60)
        self.assertIn("would be sent", dry.stdout)
        self.assertEqual(Receiver.taken, [])

        done = subprocess.run(run, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("no target is configured", done.stdout)
        paths = [path for path, _, _ in Receiver.taken]
        expected = sum(provider in ("webhook", "splunk") for _, provider in due)
        self.assertEqual(len(paths), expected)
        for path, sent, document in Receiver.taken:
            self.assertIn("export_id", document)
            self.assertNotIn("export_hash", document)
            self.assertTrue(sent["Idempotency-Key"].startswith(document["export_id"]))
            self.assertEqual(sent.get("X-Receiver-Key"), "only-the-worker-knows" if path == "/good" else None)

        after = plan()
        for key in due:
            provider = key[1]
            if provider == "webhook":
                self.assertNotIn(key, actions(after), "a success clears its failures")
            elif provider == "splunk":
                decision = next(
                    each for each in after["retry_decisions"] if (each["export_id"], each["provider"]) == key
                )
                self.assertIn(decision["action"], ("wait", "suppress"))
                self.assertEqual(decision["failed_status_codes"], [503])
                self.assertIsNotNone(decision["retry_after_until"])
        self.assertNotIn("only-the-worker-knows", json.dumps(after))

        again = subprocess.run(run, capture_output=True, text=True, timeout=60)
        self.assertEqual(len(Receiver.taken), expected, again.stdout)

    def test_a_retry_after_may_be_a_date_a_number_or_nothing_that_can_be_read(self):
        sys.path.insert(0, str(pathlib.Path(WORKER).parent))
        import retry_worker

        self.assertEqual(retry_worker.retry_after_seconds("120"), 120)
        self.assertEqual(retry_worker.retry_after_seconds("Wed, 21 Oct 2015 07:28:00 GMT"), 0)
        self.assertIsNone(retry_worker.retry_after_seconds("soon"))
        self.assertIsNone(retry_worker.retry_after_seconds(None))


if __name__ == "__main__":
    unittest.main(verbosity=2)
