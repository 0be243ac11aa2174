"""Stands in for Microsoft Entra: gives a service principal tokens for Azure Storage.

    python tests/components/token_server.py LOG [--expires-in SECONDS]

Prints "ready PORT", serves HTTP on 127.0.0.1 until it gets SIGTERM or its parent ends, and appends every request with its
answer to LOG as one JSON line: {"path", "client_id", "scope", "status", "expires_in"}, without secrets and tokens.

POST /TENANT/oauth2/v2.0/token   the client-credentials grant (RFC 6749, 4.4) for the client that the environment names:
    TOKEN_SERVER_TENANT, TOKEN_SERVER_CLIENT_ID, TOKEN_SERVER_CLIENT_SECRET. Other tenants, clients, secrets, scopes and
    grants are refused with status and code as Entra has them.
POST /expires-in/SECONDS         how long tokens live from now on; the answer is how long they lived before.

A token is a JWT with the claims that Azurite looks at. Its signature is by a key that nobody else knows.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import secrets
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from serving import serve

SCOPES = ("https://storage.azure.com/.default", "https://storage.azure.com//.default")
# Clocks of services differ by some seconds, and a token that is not valid yet is refused.
SKEW = 60


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "token-server"
    log_lock = threading.Lock()

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.reply(405, error("invalid_request", 900561, "The endpoint only accepts POST requests."), {})

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        form = dict(parse_qsl(self.rfile.read(length).decode("utf-8", "replace")))
        parts = urlsplit(self.path).path.strip("/").split("/")
        if len(parts) == 2 and parts[0] == "expires-in" and parts[1].isdigit():
            before, self.server.expires_in = self.server.expires_in, int(parts[1])
            return self.reply(200, {"expires_in": before}, form)
        if len(parts) != 4 or parts[1:] != ["oauth2", "v2.0", "token"]:
            return self.reply(404, error("invalid_request", 90014, f"There is nothing at {self.path}."), form)
        self.reply(*self.grant(parts[0], form), form)

    def grant(self, tenant, form):
        server, client, kind, scope = self.server, form.get("client_id"), form.get("grant_type"), form.get("scope")
        if tenant != server.tenant:
            return 400, error("invalid_request", 90002, f"Tenant '{tenant}' not found.")
        if kind != "client_credentials":
            return 400, error("unsupported_grant_type", 70003, f"The app requested an unsupported grant type '{kind}'.")
        if client != server.client_id:
            return 400, error("unauthorized_client", 700016, f"Application with identifier '{client}' was not found.")
        if not hmac.compare_digest(form.get("client_secret", "").encode(), server.client_secret.encode()):
            return 401, error("invalid_client", 7000215, f"Invalid client secret provided for app '{client}'.")
        if scope not in SCOPES:
            return 400, error("invalid_scope", 70011, f"The provided value for scope {scope} is not valid.")
        expires_in = server.expires_in
        answer = {"token_type": "Bearer", "expires_in": expires_in, "ext_expires_in": expires_in}
        return 200, answer | {"access_token": self.token(expires_in)}

    def token(self, expires_in):
        server, now = self.server, int(time.time())
        claims = {
            "aud": "https://storage.azure.com",
            "iss": f"https://sts.windows.net/{server.tenant}/",
            "iat": now - SKEW,
            "nbf": now - SKEW,
            "exp": now + expires_in,
            "appid": server.client_id,
            "tid": server.tenant,
            "oid": server.object_id,
            "sub": server.object_id,
            "jti": str(uuid.uuid4()),
            "ver": "1.0",
        }
        signed = part({"typ": "JWT", "alg": "HS256"}) + b"." + part(claims)
        signature = hmac.new(server.signing_key, signed, hashlib.sha256).digest()
        return (signed + b"." + encoded(signature)).decode()

    def reply(self, status, answer, form):
        record = {
            "path": self.path,
            "client_id": form.get("client_id"),
            "scope": form.get("scope"),
            "status": status,
            "expires_in": answer.get("expires_in"),
        }
        # Before the answer: whoever has it can already read the line.
        with self.log_lock, open(self.server.log, "a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def error(kind, code, text):
    return {
        "error": kind,
        "error_description": f"AADSTS{code}: {text} Trace ID: {uuid.uuid4()} Correlation ID: {uuid.uuid4()}",
        "error_codes": [code],
    }


def part(claims):
    return encoded(json.dumps(claims, separators=(",", ":")).encode())


def encoded(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log")
    parser.add_argument("--expires-in", type=int, default=3600, help="how many seconds a token lives")
    options = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.log = options.log
    server.expires_in = options.expires_in
    server.tenant = os.environ["TOKEN_SERVER_TENANT"]
    server.client_id = os.environ["TOKEN_SERVER_CLIENT_ID"]
    server.client_secret = os.environ["TOKEN_SERVER_CLIENT_SECRET"]
    server.object_id = str(uuid.uuid4())
    server.signing_key = secrets.token_bytes(32)
    open(server.log, "a", encoding="utf-8").close()
    serve(server)


if __name__ == "__main__":
    main()
