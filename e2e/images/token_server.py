#!/usr/bin/env python3
"""A token server for docker-registry's `auth: token`, made of the standard library and openssl.

GET  /token?service=..&scope=..   with Basic credentials: a token for the scopes asked for
                                  with offline_token=true: a refresh token besides
POST /token                       grant_type=password or refresh_token, as OAuth 2 clients do

Without credentials it answers 401, or with --anonymous a token for pulls. It logs a line a
request, so that a test can count the tokens that were fetched.
"""

import argparse
import base64
import hmac
import json
import re
import secrets
import subprocess
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

SERVICE = ISSUER = "holdfast-test"
# Tells a token request's body from an attempt to fill the memory.
MAX_BODY = 16 * 1024


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Signer:
    """Makes JWTs (RS256) that carry the certificate the registry trusts."""

    def __init__(self, key, certificate):
        self.key = key
        pem = Path(certificate).read_text()
        body = re.search("-----BEGIN CERTIFICATE-----(.*?)-----END", pem, re.S).group(1)
        self.header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(body.split())]}

    def jwt(self, claims):
        text = b".".join(encoded(json.dumps(part).encode()) for part in (self.header, claims))
        signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=text,
                                stdout=subprocess.PIPE, check=True).stdout
        return (text + b"." + encoded(signed)).decode()


def access(scopes, allowed):
    """What a token grants: `repository:NAME:pull,push` as the registry reads it, cut to `allowed`."""
    granted = []
    for scope in " ".join(scopes).split():
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        granted.append({"type": kind, "name": name, "actions": [a for a in actions.split(",") if a in allowed]})
    return granted


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)
        name, _, password = self.basic().partition(":")
        if self.known(name, password):
            self.grant(name, query.get("scope", []), offline=query.get("offline_token") == ["true"])
        elif self.server.options.anonymous and not name:
            self.grant("", query.get("scope", []), allowed=("pull",))
        else:
            self.refuse()

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY:
            self.close_connection = True
            return self.answer(413, {"error": "request too large"})
        form = {key: value[0] for key, value in parse_qs(self.rfile.read(length).decode()).items()}
        name = form.get("username", "")
        if form.get("grant_type") == "refresh_token":
            name = self.server.refresh.get(form.get("refresh_token"))
        elif not self.known(name, form.get("password", "")):
            name = None
        if name is None:
            return self.refuse()
        return self.grant(name, [form.get("scope", "")], offline=form.get("access_type") == "offline")

    def basic(self):
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return ""
        try:
            return base64.b64decode(value).decode()
        except ValueError:
            return ""

    def known(self, name, password):
        options = self.server.options
        return name == options.user and hmac.compare_digest(password.encode(), options.password.encode())

    def grant(self, subject, scopes, offline=False, allowed=("pull", "push", "delete", "*")):
        now, ttl = int(time.time()), self.server.options.ttl
        token = self.server.signer.jwt({
            "iss": ISSUER, "aud": SERVICE, "sub": subject, "jti": secrets.token_hex(8),
            "iat": now, "nbf": now - 5, "exp": now + ttl, "access": access(scopes, allowed)})
        body = {"token": token, "access_token": token, "expires_in": ttl, "scope": " ".join(scopes),
                "issued_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))}
        if offline:
            body["refresh_token"] = secrets.token_hex(16)
            self.server.refresh[body["refresh_token"]] = subject
        self.answer(200, body)

    def refuse(self):
        self.answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong or missing credentials"}]})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="holdfast-test"')
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):
        print(format % args, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", default="127.0.0.1:0", help="HOST:PORT; port 0 lets the kernel choose")
    parser.add_argument("--url-file", required=True, type=Path, help="where to write the URL once it answers")
    parser.add_argument("--key", required=True, help="private key, PEM")
    parser.add_argument("--certificate", required=True, help="its certificate, which the registry trusts, PEM")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--ttl", type=int, default=300, help="seconds a token is good for")
    parser.add_argument("--anonymous", action="store_true", help="let everybody pull")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    server.options, server.signer, server.refresh = options, Signer(options.key, options.certificate), {}
    partial = options.url_file.with_suffix(".partial")
    partial.write_text(f"http://{host}:{server.server_address[1]}/token\n")
    partial.rename(options.url_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
