"""A local S3: `moto` with two things added, so that it stands in for the service where tests depend on it.

    python tests/components/s3_server.py CREDENTIALS BUCKET

Prints "ready PORT", serves path-style HTTP on 127.0.0.1 until it gets SIGTERM or its parent ends, and holds everything in
memory. The bucket is made, and CREDENTIALS becomes a JSON file with the key of a user that may do everything and of one
that may only read the bucket: {"writer": {"key_id", "secret"}, "reader": {…}}.

- Signatures and policies are checked: an unknown key, a wrong secret and a missing permission answer 403 with the codes of
  the service (InvalidAccessKeyId, SignatureDoesNotMatch, AccessDenied).
- Requests are served one after another. moto looks whether a key is there and then puts it, without a lock between, so of
  several conditional puts (`If-None-Match: *`) two can win; seen in 3 of 100 rounds of eight when threads switch often. S3
  lets exactly one win, and commits of tables rest on that.
"""

import json
import os
import sys
import threading

import boto3
from botocore.config import Config
from moto import settings
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from serving import wait

REGION = "us-east-1"
READING = ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"]


class OneAtATime:
    def __init__(self, app):
        self.app = app
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        with self.lock:
            # moto's answers are complete when it returns.
            return self.app(environ, start_response)


class QuietHandler(MotoRequestHandler):
    # Without this an answer in two small packets waits for the client's acknowledgement, 40 ms each time.
    disable_nagle_algorithm = True

    def log(self, *args):
        pass


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: s3_server.py CREDENTIALS BUCKET")
    credentials, bucket = sys.argv[1:]
    # Nothing of the caller's own accounts belongs here.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    app = OneAtATime(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    users = prepare(endpoint, bucket)
    with open(os.open(credentials, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(users, file)
    # From here on every request is checked.
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    wait(server.server_port)


def prepare(endpoint, bucket):
    """Makes the bucket and its users; answers their keys."""
    known = {"endpoint_url": endpoint, "region_name": REGION}
    known |= {"aws_access_key_id": "setup", "aws_secret_access_key": "setup"}
    config = Config(s3={"addressing_style": "path"})
    boto3.client("s3", config=config, **known).create_bucket(Bucket=bucket)
    iam = boto3.client("iam", **known)
    users = {}
    ours = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    for name, actions, resources in [("writer", ["s3:*"], ["*"]), ("reader", READING, ours)]:
        statement = {"Effect": "Allow", "Action": actions, "Resource": resources}
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="bucket", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        users[name] = {"key_id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    return users


if __name__ == "__main__":
    main()
