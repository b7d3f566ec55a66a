#!/usr/bin/env python3
"""Starts each official client under `entail run`, against a recording server.

Each client in clients.toml runs twice with each of its credentials: once for the vendor's
host, and once with a custom base URL. The caller has all variables and files of strays.toml.
A run passes if the client finds the granted key by itself, sends the request to the right
host and path with the key in the right header, sends no other key, and contacts no other
host. A last run grants another provider: then the client must find no key and contact no
host.

The result is the table host/CLIENTS.md. With --check it is compared, not written.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CLIENTS = ROOT / "target" / "clients"
TABLE = ROOT / "host" / "CLIENTS.md"
# Long enough for a client that retries or waits for a metadata server.
DEADLINE_SECONDS = 90
# The metadata servers from which cloud machines get credentials.
METADATA = {"169.254.169.254", "metadata.google.internal", "metadata", "169.254.170.2"}


def fail(message):
    print(f"matrix: {message}", file=sys.stderr)
    sys.exit(2)


def filled(text, values):
    """`text` with the names in braces replaced; other braces stay."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text


class Recorder:
    """The recording server, with its own directory."""

    def __init__(self, directory):
        self.directory = directory
        for arguments in (
            ["genrsa", "-out", "ca.key", "2048"],
            ["req", "-x509", "-new", "-key", "ca.key", "-days", "2", "-subj", "/CN=throwaway authority",
             "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign", "-out", "ca.pem"],
            ["genrsa", "-out", "leaf.key", "2048"],
        ):
            subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)
        self.authority = directory / "ca.pem"
        self.log = directory / "requests.jsonl"
        self.log.touch()
        self.process = subprocess.Popen(
            ["node", str(HERE / "recorder.mjs"), str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        ports = directory / "ports.json"
        for _ in range(200):
            if ports.exists():
                break
            if self.process.poll() is not None:
                fail("the recorder does not start")
            time.sleep(0.05)
        self.ports = json.loads(ports.read_text())
        self.offset = 0

    def take(self):
        """The requests since the last call."""
        with self.log.open() as log:
            log.seek(self.offset)
            lines = log.readlines()
            self.offset = log.tell()
        return [json.loads(line) for line in lines]

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


class Matrix:
    def __init__(self, entail, directory, with_strays):
        self.entail = entail
        self.directory = directory
        self.recorder = Recorder(directory / "recorder")
        self.ports = self.recorder.ports
        self.homes = {}
        self.service_account = None
        stray_host = f"127.0.0.1:{self.ports['stray']}"
        self.home = directory / "home"
        values = {
            "stray": f"http://{stray_host}",
            "stray_host": stray_host,
            "home": self.home,
        }
        strays = tomllib.loads((HERE / "strays.toml").read_text())
        self.home.mkdir(mode=0o700)
        self.strays = {}
        self.dotenv = CLIENTS / ".env"
        self.dotenv.unlink(missing_ok=True)
        if with_strays:
            self.strays = {name: filled(value, values) for name, value in strays["variables"].items()}
            for name, content in strays["files"].items():
                path = self.home / name
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.write_text(filled(content, values).lstrip("\n"))
                path.chmod(0o600)
            self.dotenv.write_text(
                "".join(f"{name}={filled(value, values)}\n" for name, value in strays["dotenv"].items())
            )
        (directory / "runtime").mkdir(mode=0o700)
        # A module is resolved from the directory of its importer.
        self.snippets = CLIENTS / "node" / "snippets"
        shutil.rmtree(self.snippets, ignore_errors=True)
        shutil.copytree(HERE / "node", self.snippets)

    def close(self):
        self.recorder.stop()
        self.dotenv.unlink(missing_ok=True)

    def without_ports(self, text):
        return text.replace(f"127.0.0.1:{self.ports['plain']}", "OWN").replace(f"127.0.0.1:{self.ports['stray']}", "STRAY")

    def make_service_account(self):
        if self.service_account is None:
            key = subprocess.run(["openssl", "genrsa", "2048"], check=True, capture_output=True, text=True).stdout
            self.service_account = self.directory / "service-account.json"
            self.service_account.write_text(json.dumps({
                "type": "service_account",
                "project_id": "granted-project",
                "private_key_id": "granted",
                "private_key": key,
                "client_email": "granted@granted-project.iam.gserviceaccount.com",
                "client_id": "1",
                "token_uri": "https://oauth2.googleapis.com/token",
            }))
        return self.service_account

    def home_of(self, credential, custom):
        """The home of Entail with only this credential."""
        key = (credential["name"], custom)
        if key in self.homes:
            return self.homes[key]
        home = self.directory / "homes" / f"{credential['name']}{'-custom' if custom else ''}"
        home.parent.mkdir(exist_ok=True)
        self.run_entail(home, ["init", "acme"])
        arguments = ["credential", "set", "acme", credential["provider"]]
        if "mode" in credential:
            arguments += ["--mode", credential["mode"]]
        parameters = dict(credential.get("parameters", {}))
        if custom:
            parameters |= {n: filled(v, self.ports) for n, v in credential["custom_base_url"].items()}
        for name, value in parameters.items():
            arguments += ["--param", f"{name}={value}"]
        if credential.get("service_account"):
            arguments += ["--from-file", f"service_account_json={self.make_service_account()}"]
        variables = {}
        for number, (name, value) in enumerate(credential.get("secrets", {}).items()):
            variables[f"MATRIX_SECRET_{number}"] = value
            arguments += ["--from-env", f"{name}=MATRIX_SECRET_{number}"]
        self.run_entail(home, arguments, variables)
        self.homes[key] = home
        return home

    def run_entail(self, home, arguments, variables=()):
        result = subprocess.run(
            [self.entail, "--home", str(home), *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), **dict(variables)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if result.returncode != 0:
            fail(f"{' '.join(arguments)}: {result.stderr.strip()}")

    def caller(self, client):
        """The caller's environment variables."""
        proxy = f"http://127.0.0.1:{self.ports['proxy']}"
        authority = str(self.recorder.authority)
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(self.directory / "runtime"),
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "HTTP_PROXY": proxy,
            "http_proxy": proxy,
            "SSL_CERT_FILE": authority,
            "REQUESTS_CA_BUNDLE": authority,
            "AWS_CA_BUNDLE": authority,
            "NODE_EXTRA_CA_CERTS": authority,
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": authority,
            # LiteLLM reads its prices from the package, not from the network.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONDONTWRITEBYTECODE": "1",
            "NODE_NO_WARNINGS": "1",
        }
        if client["language"] == "node":
            variables["NODE_OPTIONS"] = f"--import={HERE / 'redirect.mjs'}"
            variables["RECORDER_PORTS"] = json.dumps(self.ports)
        return variables | self.strays

    def start(self, client, home):
        """Runs the client. Returns its status, stderr, stdout, and the recorded requests."""
        if client["language"] == "python":
            program = [str(CLIENTS / "python" / "bin" / "python"), str(HERE / "python" / client["file"])]
        else:
            program = ["node", str(self.snippets / client["file"])]
        self.recorder.take()
        try:
            result = subprocess.run(
                [self.entail, "--home", str(home), "run", "acme", "--", *program, *client.get("arguments", [])],
                env=self.caller(client),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=DEADLINE_SECONDS,
            )
            status, stderr, stdout = result.returncode, result.stderr, result.stdout
        except subprocess.TimeoutExpired as expired:
            status, stderr, stdout = None, (expired.stderr or b"").decode(), ""
        return status, stderr, stdout, self.recorder.take()

    def judge(self, client, credential, custom):
        return Judgement(self, client, credential, custom, *self.start(client, self.home_of(credential, custom)))

    def judge_ungranted(self, client, other):
        """The faults of a run that is granted only the `other` credential, and its requests."""
        _, _, _, requests = self.start(client, self.home_of(other, False))
        # A request without any key is how some clients find out that they have none.
        faults = set()
        for request in requests:
            host = (request.get("host") or "").removesuffix(":443")
            if host in METADATA or host == f"127.0.0.1:{self.ports['stray']}":
                faults.add(f"asks {host} without a grant")
            faults |= {
                f"sends `{name}` to {host} without a grant"
                for name, value in sent(request)
                if re.search("stray|granted|assumed", value, re.IGNORECASE) and host != f"127.0.0.1:{self.ports['stray']}"
            }
        return sorted(map(self.without_ports, faults)), requests


class Judgement:
    """The faults of one run."""

    def __init__(self, matrix, client, credential, custom, status, stderr, stdout, requests):
        self.requests = requests
        self.stderr = stderr
        self.client = client
        self.credential = credential
        # A client that cannot get a base URL from the environment uses the vendor's.
        uses_custom = custom and "no_custom_base_url" not in client
        values = credential.get("secrets", {}) | credential.get("parameters", {}) | {"aws": self.aws()}
        if uses_custom:
            [base] = credential["custom_base_url"].values()
            host = urlsplit(filled(base, matrix.ports)).netloc
            path = client.get("custom_path", client["path"])
        else:
            host = client.get("host", credential.get("host"))
            path = client["path"]
        path = re.compile(filled(path, credential.get("parameters", {})) + r"(\?.*)?\Z")
        complete = [r for r in requests if "method" in r]
        right_host = [r for r in complete if (r.get("host") or "").removesuffix(":443") == host]
        right = [r for r in right_host if path.match(unquote(r["path"]))]

        self.key = []
        self.host = []
        self.strays = []
        self.remarks = []
        if not complete:
            self.key.append(f"no request: {_last_line(stderr)}")
        elif not right:
            seen = sorted({f"{r['host']}{r['path']}" for r in complete})
            self.host.append(f"asks {', '.join(seen)}")
        for name, wanted in client.get("headers", {}).items():
            wanted = filled(wanted, values)
            seen = [r["headers"].get(name, "") for r in right or complete]
            # In a signature, more follows the id of the key.
            wrong = [v for v in seen if not (v.startswith(wanted) if "AWS4" in wanted else v == wanted)]
            if wrong and (right or len(wrong) == len(seen)):
                self.key.append(f"`{name}` is {_shown(wrong[0])}")
        if host.startswith("127.0.0.1:") and any(r["via"] != "plain" for r in right):
            self.host.append("goes through the proxy")
        expected = {host, client.get("host", host)}
        if credential.get("service_account"):
            expected.add("oauth2.googleapis.com")
        if credential["name"] == "bedrock-role":
            expected.add("sts.eu-central-1.amazonaws.com")
            asked = [r for r in complete if "sts." in (r.get("host") or "")]
            if not any("granted-external-id" in r["body"] and "role%2Freader" in r["body"] for r in asked):
                self.key.append("does not assume the role")
        contacted = {(r.get("host") or r.get("connect") or "").removesuffix(":443") for r in requests}
        for other in sorted(contacted - expected - set(client.get("also", []))):
            if other == f"127.0.0.1:{matrix.ports['stray']}":
                self.strays.append("goes where a stray variable or file points")
            elif complete and (right or not self.host):
                self.strays.append(f"contacts {other}")
        for request in complete:
            for name, value in sent(request):
                if "stray" in value.lower() and f":{matrix.ports['stray']}" not in value:
                    self.strays.append(f"sends a stray `{name}`")
        if right and status != 0 and not client.get("unanswered"):
            self.remarks.append(f"then fails: {_last_line(stderr)}")
        if "prints" in client and client["prints"] not in stdout:
            self.key.append(f"does not find {client['prints']}")
        if "silent" in client and client["silent"] in stderr:
            self.remarks.append(f"warns: {client['silent']}…")
        # The notes of Entail, not the stack trace of a client.
        notes = "\n".join(l for l in stderr.splitlines() if re.match("(note|warning): ", l))
        for word in credential.get("warns", []):
            if not re.search(word, notes):
                self.remarks.append(f"no warning that {word.replace('.', ' ')} reaches nobody")
        if custom and not uses_custom and client["package"] not in notes:
            self.host.append("no variable, and no warning")
        for faults in (self.key, self.host, self.strays, self.remarks):
            # Ports differ between runs.
            faults[:] = [matrix.without_ports(fault) for fault in faults]
        self.faults = [*self.key, *self.host, *self.strays, *self.remarks]

    def aws(self):
        """The Authorization header of a request to Amazon."""
        return {
            "bedrock": "AWS4-HMAC-SHA256 Credential=AKIAGRANTED000000000/",
            "bedrock-role": "AWS4-HMAC-SHA256 Credential=ASIAASSUMEDROLE00000/",
            "bedrock-key": self.key_of_api(self.credential),
        }.get(self.credential["name"], "")

    @staticmethod
    def key_of_api(credential):
        return f"Bearer {credential.get('secrets', {}).get('api_key')}"


def sent(request):
    """The path, body and headers of a request, as pairs of name and value."""
    carried = {"path": request.get("path", ""), "body": request.get("body", ""), **request.get("headers", {})}
    return [(name, str(value)) for name, value in sorted(carried.items())]


def _shown(value):
    """A header's value, shortened. It is safe to print: all keys here are invented."""
    if not value:
        return "missing"
    return f"`{value[:50]}…`" if len(value) > 50 else f"`{value}`"


def _last_line(text):
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    # The line of the exception, not the stack or a version below it.
    errors = [line for line in lines if re.match(r"[\w.\[\]]*(Error|Exception|Rejected)\b", line)]
    line = (errors or lines or ["says nothing"])[-1]
    line = re.sub(r"(/[\w.@+-]+){2,}/?", "…", line)
    line = re.sub(r"127\.0\.0\.1:\d+", "loopback", line)
    return (line[:120] + "…") if len(line) > 120 else line


def versions():
    found = {}
    pip = subprocess.run(
        [str(CLIENTS / "python" / "bin" / "python"), "-m", "pip", "list", "--format", "json"],
        check=True, capture_output=True, text=True,
    )
    for package in json.loads(pip.stdout):
        found["python", package["name"].lower().replace("_", "-")] = package["version"]
    for manifest in (CLIENTS / "node" / "node_modules").glob("**/package.json"):
        relative = manifest.parent.relative_to(CLIENTS / "node" / "node_modules")
        if len(relative.parts) <= 2 and "node_modules" not in relative.parts:
            content = json.loads(manifest.read_text())
            if content.get("name") == str(relative):
                found["node", content["name"]] = content.get("version", "?")
    return found


def cell(faults):
    return "yes" if not faults else "**no**: " + "; ".join(dict.fromkeys(faults))


HEADING = """\
# Clients

What each vendor's own client does under `entail run`: whether it finds the granted key by
itself, asks the right host, honours a base URL of the credential's own, and is led astray
by nothing that the caller has around ([what that is](../tests/clients/strays.toml)), also
when nothing is granted for it.
Made by [`tests/clients/run`](../tests/clients/README.md), against a recording server.

"""


def table(rows):
    lines = []
    for language, title in (("python", "Python"), ("node", "Node")):
        lines += [f"## {title}", "", "| client | version | key | vendor's host | own base URL | ignores the caller's own | remark |", "|---|---|---|---|---|---|---|"]
        lines += [
            "| " + " | ".join(row["cells"]) + " |" for row in rows if row["language"] == language
        ]
        lines.append("")
    return HEADING + "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entail", default=os.environ.get("ENTAIL", str(ROOT / "target" / "debug" / "entail")))
    parser.add_argument("--check", action="store_true", help="compare with host/CLIENTS.md, write nothing")
    parser.add_argument("--output", type=Path, default=TABLE, help="the file to write the table to")
    parser.add_argument("--only", help="run only clients whose name matches this expression; writes no table")
    parser.add_argument("--no-strays", action="store_true", help="run without the stray variables and files; writes no table")
    parser.add_argument("--verbose", action="store_true", help="show each request and the client's error output")
    options = parser.parse_args()
    if not Path(options.entail).exists():
        fail(f"{options.entail} does not exist: build it, or give another path with --entail")

    data = tomllib.loads((HERE / "clients.toml").read_text())
    credentials = {c["name"]: c for c in data["credential"]}
    installed = versions()
    rows = []
    failed = 0
    with tempfile.TemporaryDirectory(prefix="entail-clients-") as name:
        directory = Path(name)
        (directory / "recorder").mkdir()
        matrix = Matrix(options.entail, directory, not options.no_strays)
        try:
            for client in data["client"]:
                shown = client["package"] + (f" ({client['of']})" if "of" in client else "")
                if options.only and not re.search(options.only, f"{client['language']} {shown}"):
                    continue
                version = installed.get((client["language"], client["package"]))
                if version is None:
                    fail(f"{client['package']} is not installed: run tests/clients/install.sh")
                columns = {"key": [], "vendor": [], "custom": [], "strays": [], "remarks": []}
                ran_custom = False
                for credential in (credentials[n] for n in client["credentials"]):
                    several = len(client["credentials"]) > 1
                    for custom in (False, True):
                        if custom and "custom_base_url" not in credential or not custom and "host" not in credential:
                            continue
                        judgement = matrix.judge(client, credential, custom)
                        ran_custom |= custom
                        prefix = f"{credential['name']}: " if several else ""
                        for column, faults in (
                            ("key", judgement.key),
                            ("custom" if custom else "vendor", judgement.host),
                            ("strays", judgement.strays),
                            ("remarks", judgement.remarks),
                        ):
                            columns[column] += [prefix + fault for fault in faults]
                        mark = "ok" if not judgement.faults else "FAILED"
                        failed += bool(judgement.faults)
                        print(f"{mark:6} {client['language']} {shown}, {credential['name']}, {'custom' if custom else 'vendor'}", flush=True)
                        for fault in judgement.faults:
                            print(f"         {fault}", flush=True)
                        if options.verbose:
                            for request in judgement.requests:
                                print("         >", json.dumps(request)[:1500])
                            print("\n".join("         | " + line for line in judgement.stderr.splitlines()[-40:]))
                providers = {credentials[n]["provider"] for n in client["credentials"]}
                other = next(
                    c for c in data["credential"]
                    if c["provider"] not in providers and "host" in c and "parameters" not in c
                )
                faults, requests = matrix.judge_ungranted(client, other)
                columns["strays"] += faults
                failed += bool(faults)
                print(f"{'FAILED' if faults else 'ok':6} {client['language']} {shown}, not granted", flush=True)
                for fault in faults:
                    print(f"         {fault}", flush=True)
                if options.verbose:
                    for request in requests:
                        print("         >", json.dumps(request)[:1500])
                if "no_custom_base_url" in client and ran_custom:
                    custom_cell = "no variable: `run` warns" if not columns["custom"] else cell(columns["custom"])
                    columns["remarks"].append(client["no_custom_base_url"])
                else:
                    custom_cell = cell(columns["custom"]) if ran_custom else "–"
                vendor_known = any("host" in credentials[n] for n in client["credentials"])
                remarks = [*columns["remarks"], *([client["remark"]] if "remark" in client else [])]
                rows.append({
                    "language": client["language"],
                    "cells": [
                        shown.replace("|", "\\|"), version, cell(columns["key"]),
                        cell(columns["vendor"]) if vendor_known else "–", custom_cell,
                        cell(columns["strays"]), "; ".join(dict.fromkeys(remarks)),
                    ],
                })
        finally:
            matrix.close()
    text = table(rows)
    print(f"{failed} of the runs failed" if failed else "every run passed")
    if options.only or options.no_strays:
        sys.exit(1 if failed else 0)
    if options.check:
        if options.output.read_text() != text:
            print(f"matrix: {options.output} differs from the results; run without --check", file=sys.stderr)
            sys.exit(1)
    else:
        options.output.write_text(text)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
