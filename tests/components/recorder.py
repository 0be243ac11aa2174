"""Stands in for the services that limno calls: the Databricks Jobs API and any webhook.

Prints "ready PORT", serves HTTP (with a certificate: HTTPS) on 127.0.0.1 until it gets SIGTERM or its parent ends, and appends every request
with its answer to LOG as one JSON line: {"method", "path", "query", "headers", "body", "status", "answer"}.

POST /api/2.2/jobs/run-now  checks the request as the service does (numeric job_id, token of at most 64
    characters, parameters that are strings, a bearer token) and answers a run_id, for a known
    idempotency_token the same one again. Some job ids stand for trouble, see JOBS.
GET /api/2.2/jobs/get?job_id=  answers the job's name.
POST /hook[/STATUS][/...]   answers 200 or STATUS; /hook/silent never answers.
Other paths answer 404, HEAD answers 405.

It proves what limno sends, not how the real services behave.
"""

import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from serving import serve

# Job id: status, error code, message. Others are started.
JOBS = {
    500: (500, "INTERNAL_ERROR", "something broke on our side"),
    403: (403, "PERMISSION_DENIED", "the user of {token} does not have Manage Run on job 403"),
    401: (401, "UNAUTHENTICATED", "the access token is invalid"),
    400: (400, "INVALID_PARAMETER_VALUE", "job 400 does not exist"),
}
BUSY = 429  # 429 with Retry-After for the first call of a token, then started
MOVED = 302  # redirects to another host name
PORTAL = 200  # an HTML page with status 200, as a proxy's login page
HUNG = 504  # never answers


class Runs:
    """Which runs exist."""

    def __init__(self):
        self.lock = threading.Lock()
        self.by_token = {}
        self.turned_away = set()
        self.last = 455644832

    def start(self, token):
        with self.lock:
            if token not in self.by_token or token is None:
                self.last += 1
                self.by_token[token] = self.last
            return self.by_token[token]

    def turn_away_once(self, token):
        with self.lock:
            is_first = token not in self.turned_away
            self.turned_away.add(token)
            return is_first


RUNS = Runs()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "recorder"
    log_lock = threading.Lock()

    def log_message(self, *args):
        pass

    def handle_any(self):
        address = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length).decode("utf-8", "replace")
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw
        status, answer, headers = self.answer(address.path, dict(parse_qsl(address.query)), body)
        record = {
            "method": self.command,
            "path": address.path,
            "query": address.query,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body,
            "status": status,
            "answer": answer,
        }
        # Before the answer: whoever has it can already read the line.
        with self.log_lock, open(self.server.log, "a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")
        if status is None:
            # Says nothing until the caller gives up.
            self.connection.recv(1)
            self.close_connection = True
            return
        text = answer if isinstance(answer, str) else json.dumps(answer)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = handle_any

    def answer(self, path, query, body):
        if self.command == "HEAD":
            return 405, "", {"Allow": "POST"}
        if path == "/api/2.2/jobs/run-now" and self.command == "POST":
            return self.run_now(body)
        if path == "/api/2.2/jobs/get" and self.command == "GET":
            return self.get_job(query)
        parts = path.strip("/").split("/")
        if parts[0] == "hook" and self.command == "POST":
            return self.hook(parts[1] if len(parts) > 1 else "200")
        return 404, error("ENDPOINT_NOT_FOUND", f"no API found for {self.command} {path}"), {}

    def bearer(self):
        scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
        return token if scheme == "Bearer" else ""

    def trouble(self, job_id):
        if not self.bearer():
            return 401, error("UNAUTHENTICATED", "credential was not sent"), {}
        if job_id in JOBS:
            status, code, message = JOBS[job_id]
            return status, error(code, message.format(token=self.bearer())), {}
        if job_id == HUNG:
            return None, None, {}
        return None

    def run_now(self, body):
        body = body if isinstance(body, dict) else {}
        job_id, token = body.get("job_id"), body.get("idempotency_token")
        parameters = body.get("job_parameters", {})
        trouble = self.trouble(job_id)
        if trouble:
            return trouble
        if type(job_id) is not int:
            return 400, error("MALFORMED_REQUEST", "job_id must be a number"), {}
        if token is not None and not 1 <= len(token) <= 64:
            return 400, error("INVALID_PARAMETER_VALUE", "idempotency_token has more than 64 characters"), {}
        if not isinstance(parameters, dict) or not all(isinstance(v, str) for v in parameters.values()):
            return 400, error("MALFORMED_REQUEST", "job_parameters must be a map of strings"), {}
        if job_id == BUSY and RUNS.turn_away_once(token):
            return 429, error("REQUEST_LIMIT_EXCEEDED", "too many requests"), {"Retry-After": "0"}
        if job_id == MOVED:
            return 302, "", {"Location": f"http://localhost:{self.server.server_port}/elsewhere"}
        if job_id == PORTAL:
            return 200, "<html>please log in</html>", {"Content-Type": "text/html"}
        run_id = RUNS.start(token)
        return 200, {"run_id": run_id, "number_in_job": run_id}, {}

    def get_job(self, query):
        job_id = int(query.get("job_id") or 0)
        return self.trouble(job_id) or (200, {"job_id": job_id, "settings": {"name": "retrain"}}, {})

    def hook(self, wish):
        if wish == "silent":
            return None, None, {}
        status = int(wish) if wish.isdigit() else 200
        if 300 <= status < 400:
            return status, "", {"Location": f"http://localhost:{self.server.server_port}/hook"}
        if status >= 400:
            return status, f"you sent authorization {self.headers.get('Authorization')}", {}
        return status, "ok", {}


def error(code, message):
    return {"error_code": code, "message": message}


def main():
    if len(sys.argv) not in (2, 4):
        sys.exit("usage: recorder.py LOG [CERTIFICATE KEY]")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if len(sys.argv) == 4:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*sys.argv[2:])
        # The handshake is left to each connection's thread, so that one caller that breaks it off blocks nobody.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.daemon_threads = True
    server.log = sys.argv[1]
    open(server.log, "a", encoding="utf-8").close()
    serve(server)


if __name__ == "__main__":
    main()
