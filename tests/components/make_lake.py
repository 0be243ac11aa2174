"""Makes the containers of the tests in Azurite, and shared access signatures for one of them.

    python tests/components/make_lake.py ENDPOINT CONTAINER [--ca PEM]

The account is the last part of ENDPOINT (http://127.0.0.1:10000/ACCOUNT), its key is in AZURE_STORAGE_KEY. Prints JSON:
{"write", "read", "expired"}, each a signature of the container: for everything that a writer of tables needs, for reading
and listing only, and one for everything whose time is over.
"""

import argparse
import datetime
import json
import os
from urllib.parse import urlsplit

from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

WRITE = ContainerSasPermissions(read=True, add=True, create=True, write=True, delete=True, list=True)
READ = ContainerSasPermissions(read=True, list=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("endpoint")
    parser.add_argument("container")
    parser.add_argument("--ca", help="PEM certificate of the authority to trust")
    options = parser.parse_args()
    account = urlsplit(options.endpoint).path.strip("/")
    key = os.environ["AZURE_STORAGE_KEY"]
    trust = {"connection_verify": options.ca} if options.ca else {}
    credential = {"account_name": account, "account_key": key}
    service = BlobServiceClient(options.endpoint, credential=credential, retry_total=0, **trust)
    service.create_container(options.container)
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    hour = datetime.timedelta(hours=1)

    def signature(permission, start, expiry):
        return generate_container_sas(
            account, options.container, account_key=key, permission=permission, start=start, expiry=expiry
        )

    signatures = {
        "write": signature(WRITE, now - hour, now + 24 * hour),
        "read": signature(READ, now - hour, now + 24 * hour),
        "expired": signature(WRITE, now - 48 * hour, now - 24 * hour),
    }
    print(json.dumps(signatures))


if __name__ == "__main__":
    main()
