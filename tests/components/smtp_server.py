"""A mail server for tests: real SMTP with STARTTLS, implicit TLS or neither, and a login where asked for.

Prints "ready PORT" and serves until it gets SIGTERM or its parent ends. Every mail that it accepts becomes
one file in a Maildir, with the envelope in front as X-MailFrom and X-RcptTo, and otherwise byte for byte.

The local part of a recipient decides: "refused..." is never accepted (550), "busy..." not the first time (451).
"""

import argparse
import asyncio
import mailbox
import os
import signal
import ssl

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Delivery:
    """Accepts recipients and stores mails."""

    def __init__(self, maildir):
        self.maildir = mailbox.Maildir(maildir, create=True)
        self.put_off = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            return "550 5.1.1 mailbox unavailable"
        if address.startswith("busy") and address not in self.put_off:
            self.put_off.add(address)
            return "451 4.7.1 try again later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 recipient ok"

    async def handle_DATA(self, server, session, envelope):
        head = f"X-MailFrom: {envelope.mail_from}\r\nX-RcptTo: {', '.join(envelope.rcpt_tos)}\r\n"
        self.maildir.add(head.encode() + envelope.original_content)
        return "250 2.0.0 message accepted"


def authenticator(user, password):
    def check(server, session, envelope, mechanism, data):
        good = (
            isinstance(data, LoginPassword)
            and data.login == user.encode()
            and data.password == password.encode()
        )
        # Not handled: the server itself answers a wrong login with 535.
        return AuthResult(success=good, handled=False)

    return check


async def serve(options):
    context = None
    if options.mode != "plain":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.cert, options.key)
    settings = {"hostname": "localhost", "enable_SMTPUTF8": True}
    if options.user is not None:
        settings["authenticator"] = authenticator(options.user, os.environ["SMTP_SERVER_PASSWORD"])
        settings["auth_required"] = True
        settings["auth_require_tls"] = options.mode == "starttls"
    if options.mode == "starttls":
        settings["tls_context"] = context
        settings["require_starttls"] = True
    delivery = Delivery(options.maildir)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(delivery, loop=loop, **settings),
        host="127.0.0.1",
        port=0,
        ssl=context if options.mode == "tls" else None,
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    parent = os.getppid()
    while not stop.is_set() and os.getppid() == parent:
        try:
            await asyncio.wait_for(stop.wait(), timeout=1)
        except asyncio.TimeoutError:
            pass
    server.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["starttls", "tls", "plain"])
    parser.add_argument("maildir")
    parser.add_argument("--cert", help="PEM certificate, for starttls and tls")
    parser.add_argument("--key", help="PEM key, for starttls and tls")
    parser.add_argument("--user", help="demand a login; its password is in SMTP_SERVER_PASSWORD")
    options = parser.parse_args()
    if options.mode != "plain" and not (options.cert and options.key):
        parser.error(f"{options.mode} needs --cert and --key")
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
