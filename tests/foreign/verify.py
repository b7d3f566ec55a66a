"""Verifies a home of Entail, and opens its secrets, without Entail.

Written from host/FORMATS.md alone. Needs `cryptography` and `pyrage`.

    verify.py HOME                     verifies the whole store
    verify.py HOME --list KIND UNDER   proves and prints the documents below a name

Prints one line. Exit status 0: valid; 1: tampered with; 3: a newer version is needed.
"""

import hashlib
import json
import os
import re
import sqlite3
import sys
import urllib.parse

import pyrage
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

VERSION = 1
MAX_KEYRING, MAX_CHECKPOINT, MAX_KEY = 256 * 1024, 1024, 1024
MAX_FRAME, MAX_EPOCH_FILE = 64 * 1024, 256 * 1024
MAX_REVISION = 2**53 - 1
SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
# RFC 8032: the order of the group, and the points of small order in every encoding.
ORDER = 2**252 + 27742317777372353535851937790883648493
PRIME = 2**255 - 19
SMALL_Y = {
    0,
    1,
    PRIME - 1,
    PRIME,
    PRIME + 1,
    2707385501144840649318225287225658788936804267575313519463743609750303021402,
    55188659117513257062467267217118295137698188065244968500265048394206261417927,
}
HEADER = {"type", "version", "store", "lineage", "critical"}


class Tampered(Exception):
    """The home does not hold what was written to it."""


class Newer(Exception):
    """A newer version wrote it."""


def require(condition, what):
    if not condition:
        raise Tampered(what)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def parse(data, what):
    """Parses JSON in which no object has a member twice."""

    def members(pairs):
        require(len({name for name, _ in pairs}) == len(pairs), f"{what}: a member twice")
        return dict(pairs)

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=members)
    except (ValueError, RecursionError) as error:
        raise Tampered(f"{what}: {error}") from error


def form(data, known, what, optional=frozenset()):
    """Parses an object with a version, and checks that this program can read it."""
    value = parse(data, what)
    version = value.get("version") if isinstance(value, dict) else None
    require(type(version) is int and version >= 1, f"{what}: no version")
    critical = value.get("critical", [])
    require(isinstance(critical, list), f"{what}: critical")
    if value["version"] > VERSION or not set(critical) <= known | optional:
        raise Newer(what)
    require(known - {"critical"} <= value.keys(), f"{what}: lacks a member")
    return value


def is_digest(text):
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) is not None


def is_id(text):
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{32}", text) is not None


def is_count(value):
    return type(value) is int and 0 <= value < 2**64


def fingerprint(key):
    return "ed25519:" + sha(SPKI_PREFIX + key)


def verifies(key, signed, signature):
    """Strict Ed25519: canonical encodings, and no point of small order."""
    for point in (key, signature[:32]):
        y = int.from_bytes(point, "little") & (2**255 - 1)
        if y in SMALL_Y:
            return False
    if int.from_bytes(signature[32:], "little") >= ORDER:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
        return True
    except (InvalidSignature, ValueError):
        return False


def signers(kind, payload, signatures, trusted, what):
    """The keys that signed a statement. All of them must be trusted."""
    name = f"application/vnd.entail.{kind}+json".encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)
    listed = parse(signatures, what)
    require(isinstance(listed, list) and listed, f"{what}: no signatures")
    for signature in listed:
        require(list(signature) == ["algorithm", "key", "signature"], f"{what}: signatures")
    canonical = json.dumps(listed, separators=(",", ":"), ensure_ascii=False).encode()
    require(canonical == signatures, f"{what}: signatures are not canonical")
    found = []
    for signature in listed:
        key = trusted.get(signature["key"])
        require(key is not None and signature["key"] not in found, f"{what}: foreign key")
        text = signature["signature"]
        require(re.fullmatch("[0-9a-f]{128}", str(text)), f"{what}: malformed signature")
        is_valid = signature["algorithm"] == "ed25519"
        require(is_valid and verifies(key, signed, bytes.fromhex(text)), f"{what}: signature")
        found.append(signature["key"])
    return found


def check_newer(newer, kind, payload, signatures, trusted):
    """Passes on that a newer version is needed if a trusted key signed the bytes."""
    name = f"application/vnd.entail.{kind}+json".encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)
    try:
        listed = json.loads(signatures)
        valid = [s for s in listed if re.fullmatch("[0-9a-f]{128}", s["signature"])]
        pairs = [(trusted.get(s["key"]), bytes.fromhex(s["signature"])) for s in valid]
    except (ValueError, TypeError, KeyError) as error:
        raise Tampered(f"{newer}: signatures") from error
    if any(key and verifies(key, signed, signature) for key, signature in pairs):
        raise newer
    raise Tampered(f"{newer}: malformed")


class Keyring:
    KNOWN = HEADER | {"number", "previous", "at_ms", "owners", "signers", "readers"}
    KNOWN |= {"default_recipients"}
    OPTIONAL = frozenset({"fresh_for_ms", "proposal"})

    def __init__(self, payload, signatures):
        require(len(payload) <= MAX_KEYRING, "a keyring is too large")
        value = form(payload, self.KNOWN, "a keyring", self.OPTIONAL)
        self.what = f"keyring {value['number']}"
        require(value["type"] == "keyring", f"{self.what}: type")
        require(is_id(value["store"]) and is_id(value["lineage"]), f"{self.what}: store")
        require(is_count(value["number"]) and is_count(value["at_ms"]), f"{self.what}: number")
        self.payload, self.signatures, self.digest = payload, signatures, sha(payload)
        self.number, self.previous = value["number"], value["previous"]
        self.store, self.lineage = value["store"], value["lineage"]
        self.owners = self.keys(value["owners"]["keys"])
        self.threshold = value["owners"]["threshold"]
        self.signers = self.keys(value["signers"])
        scopes = [signer.get("scopes") for signer in value["signers"]]
        self.scopes = dict(zip(self.signers, scopes, strict=True))
        for scope in [scope for listed in scopes for scope in listed or []]:
            require(isinstance(scope, str) and scope, f"{self.what}: scopes")
        fresh_for = value.get("fresh_for_ms")
        require(fresh_for is None or is_count(fresh_for), f"{self.what}: fresh_for_ms")
        self.readers = {known["organization"]: known for known in value["readers"]}
        enough = type(self.threshold) is int and 1 <= self.threshold <= len(self.owners)
        require(enough, f"{self.what}: threshold")
        organizations = [known["organization"] for known in value["readers"]]
        require(organizations == sorted(set(organizations)), f"{self.what}: readers")
        for known in value["readers"]:
            numbers = [epoch["number"] for epoch in known["epochs"]]
            in_order = numbers == sorted(set(numbers)) and numbers and numbers[0] >= 1
            require(known["class"] == "x25519" and in_order, f"{self.what}: readers")

    def keys(self, listed):
        keys = {}
        for key in listed:
            if key["algorithm"] != "ed25519":
                raise Newer(self.what)
            require(is_digest(key["key"]), f"{self.what}: a malformed key")
            key = bytes.fromhex(key["key"])
            keys[fingerprint(key)] = key
        return keys

    def check_signed(self):
        """Checks that enough of its own owners signed it, whoever else did."""
        name = b"application/vnd.entail.keyring+json"
        signed = b"DSSEv1 %d %s %d %s" % (len(name), name, len(self.payload), self.payload)
        found = set()
        for signature in parse(self.signatures, self.what):
            is_complete = list(signature) == ["algorithm", "key", "signature"]
            texts = is_complete and all(isinstance(text, str) for text in signature.values())
            require(texts, f"{self.what}: signatures")
            key = self.owners.get(signature["key"])
            is_hex = re.fullmatch("[0-9a-f]{128}", signature["signature"])
            if key and is_hex and verifies(key, signed, bytes.fromhex(signature["signature"])):
                found.add(signature["key"])
        require(len(found) >= self.threshold, f"{self.what}: too few owners")

    def check_own(self, before):
        trusted = dict(before.owners if before else {}) | self.owners
        found = signers("keyring", self.payload, self.signatures, trusted, self.what)
        own = [key for key in found if key in self.owners]
        require(len(own) >= self.threshold, f"{self.what}: too few owners")
        return found

    def check_link(self, before):
        if before is None:
            require(self.number == 1 and self.previous is None, f"{self.what} is not the first")
            return
        follows = self.number == before.number + 1 and self.previous == before.digest
        require(follows and self.store == before.store, f"{self.what} does not follow")

    def check_follows(self, before):
        found = [key for key in self.check_own(before) if key in before.owners]
        require(len(found) >= before.threshold, f"{self.what}: too few former owners")


def tree_key(kind, name):
    require("\0" not in kind + name, "a name with a zero byte")
    return b"".join(part.encode() + b"\0" for part in [kind, *name.split("/")])


def document_at(key):
    kind, *segments = key.decode().removesuffix("\0").split("\0")
    return kind, "/".join(segments)


def decode_node(data):
    """The digest of the document at the node, and its children."""
    require(data[:1] == b"\1", "a node: form")
    at, value, children = 1, None, []
    if data[at : at + 1] == b"\1":
        value, at = data[at + 1 : at + 33].hex(), at + 33
    while at < len(data):
        tag, length = data[at], int.from_bytes(data[at + 1 : at + 3], "big")
        label, digest = data[at + 3 : at + 3 + length], data[at + 3 + length : at + 35 + length]
        at += 35 + length
        in_order = not children or children[-1][1][0] < label[0]
        require(tag in (2, 3) and label and len(digest) == 32 and in_order, "a node: child")
        children.append((tag, label, digest.hex()))
    require(value is None or len(value) == 64, "a node: value")
    return value, children


def encode_node(value, children):
    data = b"\1" + (b"\1" + bytes.fromhex(value) if value else b"")
    for tag, label, digest in children:
        data += bytes([tag]) + len(label).to_bytes(2, "big") + label + bytes.fromhex(digest)
    return data


def build_tree(documents):
    """The nodes of the tree of documents, given by their keys, and the root."""
    nodes = {}

    def node(path, keys):
        value = documents.get(path)
        groups = {}
        for key in keys:
            if key != path:
                groups.setdefault(key[len(path)], []).append(key)
        children = []
        for _, group in sorted(groups.items()):
            common = os.path.commonprefix(group)
            if len(group) == 1:
                children.append((2, group[0][len(path) :], documents[group[0]]))
            else:
                children.append((3, common[len(path) :], node(common, group)))
        nodes[path] = encode_node(value, children)
        return sha(nodes[path])

    root = node(b"", sorted(documents))
    return nodes, root


def prove_list(root, nodes, prefix):
    """The keys with a prefix, proven by the nodes above and below it."""
    found, left = [], [(b"", root)]
    if root == sha(b"\1"):
        return found
    while left:
        path, digest = left.pop()
        data = nodes.get(path)
        require(data is not None and sha(data) == digest, f"node {path} of the tree")
        value, children = decode_node(data)
        if value and path.startswith(prefix):
            found.append(path)
        for tag, label, digest in children:
            key = path + label
            if tag == 2 and key.startswith(prefix):
                found.append(key)
            elif tag == 3 and (key.startswith(prefix) or prefix.startswith(key)):
                left.append((key, digest))
    return sorted(found)


def check_proof(record, root, what):
    """Checks that a record has the nodes above all documents that it touches."""
    proof = {sha(b"\1"): b"\1"}
    for node in record.get("proof") or []:
        require(re.fullmatch("([0-9a-f]{2})*", str(node)), f"{what}: the proof")
        proof[sha(bytes.fromhex(node))] = bytes.fromhex(node)
    for effect in record["effects"]:
        key, path, digest = tree_key(effect["kind"], effect["name"]), b"", root
        while digest is not None:
            require(digest in proof, f"{what}: the proof lacks a node")
            inner = [child for child in decode_node(proof[digest])[1] if child[0] == 3]
            below = [child for child in inner if key.startswith(path + child[1])]
            path, digest = (path + below[0][1], below[0][2]) if below else (path, None)


class Home:
    """A verified home."""

    def __init__(self, directory):
        self.directory = directory
        payload, signatures, end = self.read("keys/keyring.jsonl").split(b"\n")
        require(end == b"", "keyring.jsonl")
        self.trusted = Keyring(payload, signatures)
        self.trusted.check_signed()
        known = {"version", "store", "lineage", "revision", "checkpoint"}
        self.anchor = form(self.read("anchor.json"), known, "anchor.json")
        revision, checkpoint = self.anchor["revision"], self.anchor["checkpoint"]
        require(is_id(self.anchor["lineage"]), "anchor.json: lineage")
        require(is_count(revision) and revision <= MAX_REVISION, "anchor.json: revision")
        require((revision == 0) == (checkpoint is None), "anchor.json: checkpoint")
        require(self.anchor["store"] == self.trusted.store, "anchor.json: another store")
        file = urllib.parse.quote(os.path.join(directory, "entail.db"))
        self.database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        self.check_definition()
        self.read_keyrings()
        self.read_journal()

    def read(self, name):
        with open(os.path.join(self.directory, name), "rb") as file:
            return file.read()

    def rows(self, query):
        try:
            return self.database.execute(query).fetchall()
        except (sqlite3.DatabaseError, OverflowError) as error:
            raise Tampered(f"the database: {error}") from error

    def check_definition(self):
        names = {name for (name,) in self.rows("SELECT name FROM sqlite_schema")}
        tables = {"journal", "keyrings", "heartbeat", "documents", "tree", "blobs"}
        require(names == tables | {"sqlite_autoindex_blobs_1"}, "the tables of the database")
        require(self.rows("PRAGMA integrity_check") == [("ok",)], "the pages of the database")

    def read_keyrings(self):
        self.keyrings, before = {}, None
        query = "SELECT number, payload, signatures FROM keyrings ORDER BY number"
        for place, (number, payload, signatures) in enumerate(self.rows(query), 1):
            try:
                keyring = Keyring(payload, signatures)
            except Newer as newer:
                require(before is not None, "the first keyring is malformed")
                check_newer(newer, "keyring", payload, signatures, before.owners)
            require(number == place == keyring.number, f"keyring {number} is out of place")
            keyring.check_link(before)
            keyring.check_own(before)
            if before and before.number >= self.trusted.number:
                keyring.check_follows(before)
            self.keyrings[keyring.digest] = before = keyring
        require(self.trusted.digest in self.keyrings, "the trusted keyring is missing")
        self.last_keyring = before

    def read_journal(self):
        self.documents, self.blobs, self.keyring, self.head = {}, set(), None, None
        self.checkpoints = {}
        known = HEADER | {"revision", "previous", "change", "tree", "documents", "keyring"}
        known |= {"at_ms"}
        is_met = self.anchor["revision"] == 0
        query = "SELECT revision, checkpoint, signatures, change FROM journal ORDER BY revision"
        previous = None
        for place, (revision, payload, signatures, change) in enumerate(self.rows(query), 1):
            what = f"journal entry {revision}"
            require(len(payload) <= MAX_CHECKPOINT, f"{what} is too large")
            try:
                head = form(payload, known, what, frozenset({"log"}))
            except Newer as newer:
                all_signers = {}
                for keyring in self.keyrings.values():
                    all_signers |= keyring.signers
                check_newer(newer, "checkpoint", payload, signatures, all_signers)
            require(head["type"] == "checkpoint", f"{what}: type")
            keyring = self.keyrings.get(head["keyring"])
            is_later = keyring and (not self.keyring or keyring.number >= self.keyring.number)
            require(is_later, f"{what}: keyring")
            is_same_keyring, self.keyring = keyring is self.keyring, keyring
            signed_by = signers("checkpoint", payload, signatures, keyring.signers, what)
            is_own = head["store"] == keyring.store and head["lineage"] == keyring.lineage
            require(is_own, f"{what}: another store or lineage")
            follows = revision == place == head["revision"] and head["previous"] == previous
            require(follows, f"{what} does not follow the previous entry")
            require(is_count(head["documents"]) and is_count(head["at_ms"]), f"{what}: numbers")
            check_log_head(head.get("log"), what)
            require(head["change"] == sha(change), f"{what}: change")
            root = self.head["tree"] if self.head else sha(b"\1")
            before, record = dict(self.documents), self.apply(change, what)
            scopes = [keyring.scopes[key] for key in signed_by]
            if None not in scopes:
                require(head.get("log") is None, f"{what}: the log of a limited signer")
                require(is_same_keyring, f"{what}: the keyring")
                self.check_scopes(record, sum(scopes, []), before, head, what)
                check_proof(record, root, what)
            previous = sha(payload)
            self.checkpoints[revision] = previous, keyring
            if revision == self.anchor["revision"]:
                is_met = previous == self.anchor["checkpoint"]
                require(is_met, f"{what} was replaced")
            self.head = head
        require(is_met, "the journal was rolled back")
        require(self.keyring is self.last_keyring, "a keyring that is not in force")

    def apply(self, change, what):
        known = {"version", "critical", "principal", "change", "effects", "blobs_added"}
        record = form(change, known | {"blobs_removed"}, what, frozenset({"proof"}))
        require(is_id(record["principal"]), f"{what}: the principal")
        keys = [tree_key(effect["kind"], effect["name"]) for effect in record["effects"]]
        require(len(keys) == len(set(keys)), f"{what}: a document twice")
        for effect in record["effects"]:
            key = tree_key(effect["kind"], effect["name"])
            if effect["after"] is None:
                self.documents.pop(key, None)
            else:
                self.documents[key] = effect["after"]
        self.blobs -= set(record["blobs_removed"])
        self.blobs |= set(record["blobs_added"])
        return record

    def check_scopes(self, record, scopes, before, head, what):
        """Checks that a change by a signer with scopes stays within them."""
        for effect in record["effects"]:
            name, key = effect["name"], tree_key(effect["kind"], effect["name"])
            within = any(name == scope or name.startswith(f"{scope}/") for scope in scopes)
            within = within and effect["kind"] in ("principal", "schedule", "scope")
            require(within, f"{what}: more than its signer may change")
            require(effect["before"] == before.get(key), f"{what}: a document before")
        root, count = build_tree(self.documents)[1], len(self.documents)
        require((root, count) == (head["tree"], head["documents"]), f"{what}: the tree")

    def check_heartbeat(self):
        rows = self.rows("SELECT payload, signatures FROM heartbeat")
        require(len(rows) <= 1, "the heartbeat: rows")
        for payload, signatures in rows:
            what = "the heartbeat"
            require(len(payload) <= MAX_CHECKPOINT, f"{what} is too large")
            try:
                named = json.loads(payload)["revision"]
            except (ValueError, TypeError, KeyError) as error:
                raise Tampered(what) from error
            require(named in self.checkpoints, f"{what}: a checkpoint that does not exist")
            checkpoint, keyring = self.checkpoints[named]
            signed_by = signers("heartbeat", payload, signatures, keyring.signers, what)
            is_limited = all(keyring.scopes[key] is not None for key in signed_by)
            require(not is_limited, f"{what}: by a signer of some scopes")
            known = HEADER | {"revision", "checkpoint", "at_ms", "until_ms"}
            value = form(payload, known, what)
            is_own = value["store"] == keyring.store and value["lineage"] == keyring.lineage
            require(value["type"] == "heartbeat" and is_own, f"{what}: type or store")
            require(value["checkpoint"] == checkpoint, f"{what}: checkpoint")
            require(is_count(value["at_ms"]) and is_count(value["until_ms"]), f"{what}: times")

    def check_tree(self):
        nodes, root = build_tree(self.documents)
        is_root = root == self.head["tree"] and len(self.documents) == self.head["documents"]
        require(is_root, "the documents are not those of the newest entry")
        stored = dict(self.rows("SELECT path, node FROM tree"))
        if not self.documents:
            stored.setdefault(b"", nodes[b""])
        require(stored == nodes, "the nodes of the tree")

    def check_documents(self):
        bodies = {}
        for kind, name, payload in self.rows("SELECT kind, name, payload FROM documents"):
            what = f"{kind} {name}"
            require(self.documents.get(tree_key(kind, name)) == sha(payload), what)
            known = {"version", "critical", "kind", "name", "revision", "body"}
            document = form(payload, known, what)
            require((document["kind"], document["name"]) == (kind, name), what)
            bodies[kind, name] = document["body"]
        require(len(bodies) == len(self.documents), "a document is missing")
        return bodies

    def check_blobs(self):
        stored = dict(self.rows("SELECT digest, bytes FROM blobs"))
        for digest, data in stored.items():
            require(sha(data) == digest.hex(), "a blob does not match its digest")
        require({digest.hex() for digest in stored} == self.blobs, "the blobs")
        return {digest.hex(): data for digest, data in stored.items()}

    def identities(self):
        lines = self.read("keys/identity.txt").decode().splitlines()
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        return [pyrage.x25519.Identity.from_str(key) for key in keys]

    def open_epochs(self, blobs):
        epochs = {}
        for organization, readers in self.keyring.readers.items():
            for epoch in readers["epochs"]:
                sealed, what = blobs.get(epoch["sealed"]), f"an epoch of {organization}"
                require(sealed and len(sealed) <= MAX_EPOCH_FILE, what)
                lines = decrypt(sealed, self.identities(), what).decode().splitlines()
                keys = [line for line in lines if line and not line.startswith("#")]
                require(len(keys) == 1, what)
                identity = pyrage.x25519.Identity.from_str(keys[0])
                require(str(identity.to_public()) == epoch["key"], what)
                epochs[organization, epoch["number"]] = identity
        return epochs

    def open_secrets(self, bodies, blobs):
        epochs, opened = self.open_epochs(blobs), 0
        for (kind, scope), body in bodies.items():
            if kind != "scope":
                continue
            for credential, version in versions(body):
                what = f"a secret of {scope}"
                sealed = blobs.get(version["blob"])
                require(sealed and len(sealed) <= MAX_FRAME + 4096, what)
                identity = epochs.get((scope.split("/")[0], version["epoch"]))
                require(identity, f"{what}: epoch")
                expected = {
                    "store": self.keyring.store,
                    "scope": scope,
                    "credential": credential["id"],
                    "version": version["number"],
                    "provider": credential["provider"],
                    "mode": version["mode"],
                    "hosts": version["hosts"],
                    "destination": destination(version),
                    "epoch": version["epoch"],
                }
                check_frame(decrypt(sealed, [identity], what), expected, version, what)
                opened += 1
        return opened

    def verify(self):
        """Verifies everything. Returns the revision, and the numbers of documents and secrets."""
        require(self.head is not None, "the journal is empty")
        self.check_heartbeat()
        self.check_tree()
        bodies = self.check_documents()
        opened = self.open_secrets(bodies, self.check_blobs())
        return self.head["revision"], len(bodies), opened

    def list(self, kind, under):
        nodes = dict(self.rows("SELECT path, node FROM tree"))
        prefix = tree_key(kind, under) if under else kind.encode() + b"\0"
        near = {path: node for path, node in nodes.items() if is_near(path, prefix)}
        return [document_at(key)[1] for key in prove_list(self.head["tree"], near, prefix)]


def is_near(path, prefix):
    return path.startswith(prefix) or prefix.startswith(path)


def versions(body):
    """All versions of all credentials that a scope keeps, also replaced and removed ones."""
    credentials = list(body["credentials"])
    credentials += [removed["credential"] for removed in body.get("removed", [])]
    for credential in credentials:
        yield credential, credential["version"]
        for retired in credential.get("retired", []):
            yield credential, retired["version"]


def decrypt(sealed, identities, what):
    try:
        return pyrage.decrypt(sealed, identities)
    except Exception as error:
        raise Tampered(f"{what} does not open: {error}") from error


def check_log_head(log, what):
    if log is not None:
        numbers = all(is_count(log[name]) for name in ("file", "bytes", "lines"))
        require(numbers and is_id(log["log"]) and is_digest(log["digest"]), f"{what}: log")


def destination(version):
    values = {name: version["parameters"].get(name) for name in version["destination"]}
    return sha(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode())


def check_frame(frame, expected, version, what):
    first, header, rest = frame.split(b"\n", 2)
    require(first == b"entail-secret/1" and len(frame) <= MAX_FRAME, f"{what}: form")
    header = parse(header, what)
    fields = header.pop("fields")
    require(header == expected, f"{what} belongs elsewhere")
    names = [name for name, _ in fields]
    require(sorted(names) == sorted(version.get("secret_fields", [])), f"{what}: fields")
    end = sum(length for _, length in fields)
    require(end <= len(rest) and not rest[end:].strip(b"\0"), f"{what}: padding")


def main(arguments):
    try:
        home = Home(arguments[0])
        if arguments[1:2] == ["--list"]:
            kind, under = arguments[2], arguments[3] if len(arguments) > 3 else ""
            print("\n".join(home.list(kind, under)))
        else:
            print("ok: revision %d, %d documents, %d secrets" % home.verify())
        return 0
    except Newer as what:
        print(f"newer: {what}")
        return 3
    except Tampered as what:
        print(f"tampered: {what}")
    except Exception as error:  # What is malformed in any other way is not what was written.
        print(f"tampered: malformed: {error!r}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
