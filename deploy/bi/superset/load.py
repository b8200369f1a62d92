"""Imports the dashboards into a Superset, or updates those of an earlier import.

Takes Superset's URL, the name of an admin, and the database's URL without its password. The
environment has the admin's password, SUPERSET_PASSWORD, and that of the database, READER_PASSWORD.
"""

import json
import os
import sys
import urllib.error
import urllib.request
import uuid
from http.cookiejar import CookieJar

import bundle
import dashboards

TIMEOUT_SECONDS = 60


class Superset:
    """A session at Superset's API."""

    def __init__(self, url: str, user: str, password: str):
        self.url = url.rstrip("/")
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        self.opener = urllib.request.build_opener(cookies)
        self.headers = {"Referer": self.url}
        login = {"username": user, "password": password, "provider": "db"}
        token = self.post_json("security/login", login)["access_token"]
        self.headers["Authorization"] = f"Bearer {token}"
        self.headers["X-CSRFToken"] = self.call("security/csrf_token/")["result"]

    def call(self, path: str, body: bytes | None = None, content_type: str = "") -> dict:
        headers = self.headers | ({"Content-Type": content_type} if content_type else {})
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", body, headers)
        try:
            with self.opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            reason = error.read().decode(errors="replace")
            raise SystemExit(
                f"error: Superset returned {error.code} for {path}: {reason}"
            ) from error
        except urllib.error.URLError as error:
            raise SystemExit(f"error: cannot reach {self.url}: {error.reason}") from error

    def post_json(self, path: str, body: dict) -> dict:
        return self.call(path, json.dumps(body).encode(), "application/json")

    def load(self, content: bytes, database_password: str) -> None:
        """Imports a bundle; objects with its UUIDs are overwritten."""
        passwords = json.dumps({f"databases/{bundle.DATABASE}.yaml": database_password})
        boundary = uuid.uuid4().hex
        parts = [
            ('name="passwords"', passwords.encode()),
            ('name="bundle"; filename="shop.zip"\r\nContent-Type: application/zip', content),
        ]
        body = b"".join(
            f"--{boundary}\r\nContent-Disposition: form-data; {header}\r\n\r\n".encode()
            + part
            + b"\r\n"
            for header, part in parts
        )
        body += f"--{boundary}--\r\n".encode()
        self.call("assets/import/", body, f"multipart/form-data; boundary={boundary}")


def main() -> None:
    if len(sys.argv) != 4:
        raise SystemExit("usage: load.py SUPERSET_URL ADMIN postgresql://USER@HOST:PORT/DATABASE")
    _, url, user, database = sys.argv
    missing = {"SUPERSET_PASSWORD", "READER_PASSWORD"} - set(os.environ)
    if missing:
        raise SystemExit(f"error: {', '.join(sorted(missing))} must be set in the environment")
    content = dashboards.make_bundle(database)
    superset = Superset(url, user, os.environ["SUPERSET_PASSWORD"])
    superset.load(content, os.environ["READER_PASSWORD"])
    for dashboard in dashboards.DASHBOARDS:
        print(f"{url.rstrip('/')}/superset/dashboard/{dashboard.slug}/")


if __name__ == "__main__":
    main()
