"""Stands in for Unity Catalog: tables, temporary credentials, and tokens for a service principal.

Prints "ready PORT", serves HTTP on 127.0.0.1 until it gets SIGTERM or its parent ends, and appends every request to LOG as
one JSON line: {"method", "path", "table", "operation", "status"}; tokens are not written down.

    unity_catalog.py TABLES LOG

TABLES is a folder with one file CATALOG.SCHEMA.TABLE.json for each table: what the catalog answers for it. Tests write and
remove the files; each request looks again. The key "mock" of a table is for this server:
    life_ms     how long its credentials hold by their expiration_time; default one hour
    denied      operations that are refused: ["READ_WRITE"]
A table at abfss:// gets a shared access signature of its container, made with LIMNO_TEST_AZURE_ACCOUNT and
LIMNO_TEST_AZURE_KEY; it holds some seconds longer than the catalog says, since its end is told in whole seconds. A table
at s3:// gets the key LIMNO_TEST_S3_KEY_ID and LIMNO_TEST_S3_SECRET; one at file: gets nothing, as in the open-source
catalog.

Callers show UNITY_TOKEN, or a token from POST /oidc/v1/token for UNITY_CLIENT_ID and UNITY_CLIENT_SECRET, which holds
UNITY_TOKEN_LIFE seconds (default 3600).

It proves what limno asks for, not how the real service decides.
"""

import base64
import datetime
import json
import os
import pathlib
import secrets
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from serving import serve

try:
    from azure.storage.blob import generate_container_sas
except ImportError:
    # Only tables at abfss:// need it.
    generate_container_sas = None

API = "/api/2.1/unity-catalog/"
HOUR = 3_600_000


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "unity"
    log_lock = threading.Lock()

    def log_message(self, *args):
        pass

    def handle_any(self):
        address = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.noted = {"table": None, "operation": None}
        if address.path == "/oidc/v1/token" and self.command == "POST":
            status, answer = self.token(parse_qs(raw))
        elif not address.path.startswith(API):
            status, answer = error(404, "ENDPOINT_NOT_FOUND", f"no API found for {self.command} {address.path}")
        elif not self.server.is_token(self.bearer()):
            status, answer = error(401, "UNAUTHENTICATED", "credential was not sent or is of no supported kind")
        else:
            status, answer = self.answer(address.path.removeprefix(API), parse_qs(address.query), raw)
        record = {"method": self.command, "path": address.path, **self.noted, "status": status}
        # Before the answer: whoever has it can already read the line.
        with self.log_lock, open(self.server.log, "a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def bearer(self):
        scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
        return token if scheme == "Bearer" else ""

    def token(self, form):
        value = lambda name: form.get(name, [""])[0]
        known = (value("client_id"), value("client_secret"))
        scheme, _, login = (self.headers.get("Authorization") or "").partition(" ")
        if scheme == "Basic":
            known = tuple(base64.b64decode(login).decode().split(":", 1))
        if value("grant_type") != "client_credentials" or value("scope") != "all-apis":
            return 400, {"error": "invalid_request", "error_description": "unknown grant_type or scope"}
        if known != (os.environ["UNITY_CLIENT_ID"], os.environ["UNITY_CLIENT_SECRET"]):
            return 401, {"error": "invalid_client", "error_description": "Client authentication failed"}
        life = int(os.environ.get("UNITY_TOKEN_LIFE", "3600"))
        return 200, {"access_token": self.server.new_token(life), "token_type": "Bearer", "expires_in": life}

    def answer(self, path, query, raw):
        if self.command == "GET" and path == "tables":
            catalog, schema = query.get("catalog_name", [""])[0], query.get("schema_name", [""])[0]
            names = (file.name.removesuffix(".json") for file in self.server.tables.glob(f"{catalog}.{schema}.*.json"))
            return 200, {"tables": [{"name": name.split(".")[2], "full_name": name} for name in sorted(names)]}
        if self.command == "GET" and path.startswith("tables/"):
            name = self.noted["table"] = path.removeprefix("tables/")
            table = self.server.table(name)
            if table is None:
                return error(404, "TABLE_DOES_NOT_EXIST", f"Table '{name}' does not exist.")
            table.pop("mock", None)
            return 200, table
        if self.command == "POST" and path == "temporary-table-credentials":
            return self.credentials(json.loads(raw))
        return error(404, "ENDPOINT_NOT_FOUND", f"no API found for {self.command} {path}")

    def credentials(self, wanted):
        name, table = self.server.by_id(wanted.get("table_id"))
        operation = wanted.get("operation")
        self.noted.update(table=name, operation=operation)
        if table is None:
            return error(404, "TABLE_DOES_NOT_EXIST", f"Table '{wanted.get('table_id')}' does not exist.")
        if operation not in ("READ", "READ_WRITE"):
            return error(400, "INVALID_PARAMETER_VALUE", f"operation {operation}")
        mock = table.get("mock", {})
        if operation in mock.get("denied", []):
            return error(403, "PERMISSION_DENIED", f"User does not have {operation} on Table '{name}'.")
        end = time.time_ns() // 1_000_000 + mock.get("life_ms", HOUR)
        location = table["storage_location"]
        answer = {"expiration_time": end, "url": location}
        if location.startswith("abfss://"):
            answer["azure_user_delegation_sas"] = {"sas_token": signature(location, operation, end)}
        elif location.startswith("s3://"):
            answer["aws_temp_credentials"] = {
                "access_key_id": os.environ["LIMNO_TEST_S3_KEY_ID"],
                "secret_access_key": os.environ["LIMNO_TEST_S3_SECRET"],
                "session_token": f"session-{secrets.token_hex(16)}",
            }
        return 200, answer


def signature(location, operation, end):
    return generate_container_sas(
        account_name=os.environ["LIMNO_TEST_AZURE_ACCOUNT"],
        container_name=urlsplit(location).username,
        account_key=os.environ["LIMNO_TEST_AZURE_KEY"],
        permission="rl" if operation == "READ" else "racwdl",
        expiry=datetime.datetime.fromtimestamp(end // 1000 + 2, datetime.timezone.utc),
    )


def error(status, code, message):
    return status, {"error_code": code, "message": message, "details": []}


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, tables, log):
        super().__init__(("127.0.0.1", 0), Handler)
        self.tables, self.log = pathlib.Path(tables), log
        self.lock, self.tokens = threading.Lock(), {}

    def new_token(self, life):
        token = f"eyJ-{secrets.token_hex(24)}"
        with self.lock:
            self.tokens[token] = time.monotonic() + life
        return token

    def is_token(self, token):
        with self.lock:
            return token == os.environ["UNITY_TOKEN"] or self.tokens.get(token, 0) > time.monotonic()

    def table(self, name):
        try:
            return json.loads((self.tables / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def by_id(self, table_id):
        for file in self.tables.glob("*.json"):
            name = file.name.removesuffix(".json")
            table = self.table(name)
            if table and table.get("table_id") == table_id:
                return name, table
        return None, None


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: unity_catalog.py TABLES LOG")
    pathlib.Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    open(sys.argv[2], "a", encoding="utf-8").close()
    server = Server(*sys.argv[1:])
    serve(server)


if __name__ == "__main__":
    main()
