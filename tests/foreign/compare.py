"""Compares `entail verify` with verify.py on homes that were changed at random.

    compare.py ENTAIL HOME COUNT SEED

Changes a copy of the home in one place at a time: a byte, a value or a row of a table, or a file.
Both must find it, or neither. Prints the counts; exit status 1 if they disagree.
"""

import collections
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile

import verify

TABLES = {
    "journal": ["revision", "checkpoint", "signatures", "change"],
    "keyrings": ["number", "payload", "signatures"],
    "heartbeat": ["place", "payload", "signatures"],
    "documents": ["kind", "name", "payload"],
    "tree": ["path", "node"],
    "blobs": ["digest", "bytes"],
}
FILES = ["anchor.json", "keys/keyring.jsonl"]


def edited(data, chance):
    """The bytes with one small change."""
    at = chance.randrange(len(data) + 1)
    change = chance.choice(["flip", "drop", "insert", "cut", "digit", "double"])
    if not data or change == "insert":
        return data[:at] + chance.choice([b" ", b"\0", b"0", b'"', b"}"]) + data[at:]
    at = min(at, len(data) - 1)
    if change == "flip":
        return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
    if change == "drop":
        return data[:at] + data[at + 1 :]
    if change == "cut":
        return data[:at]
    if change == "double":
        return data[:at] + data[at : at + 40] + data[at:]
    digits = [place for place, byte in enumerate(data) if chr(byte).isdigit()]
    at = chance.choice(digits or [at])
    return data[:at] + str(chance.randrange(10)).encode() + data[at + 1 :]


def change_row(database, chance):
    table = chance.choice(list(TABLES))
    columns = TABLES[table]
    rows = database.execute(f"SELECT * FROM {table}").fetchall()
    row = chance.choice(rows)
    where = " AND ".join(f"{column} IS ?" for column in columns)
    kind = chance.choice(["edit"] * 5 + ["delete", "duplicate", "swap"])
    if kind == "delete":
        database.execute(f"DELETE FROM {table} WHERE {where}", row)
    elif kind == "duplicate":
        key = edited_value(row[0], chance)
        marks = ", ".join("?" * len(columns))
        database.execute(f"INSERT INTO {table} VALUES ({marks})", (key, *row[1:]))
    else:
        column = chance.randrange(len(columns))
        other = chance.choice(rows)[column]
        value = other if kind == "swap" else edited_value(row[column], chance)
        sql = f"UPDATE {table} SET {columns[column]} = ? WHERE {where}"
        database.execute(sql, (value, *row))
    return f"{table}: {kind}"


def edited_value(value, chance):
    if isinstance(value, int):
        return value + chance.choice([-2, -1, 1, 2, 2**52, 2**62])
    if isinstance(value, str):
        return edited(value.encode(), chance).decode(errors="replace")
    return edited(value, chance)


def mutate(home, chance):
    """Changes a home; None if SQLite refuses the change."""
    if chance.random() < 0.1:
        file = os.path.join(home, chance.choice(FILES))
        with open(file, "rb") as opened:
            data = opened.read()
        with open(file, "wb") as opened:
            opened.write(edited(data, chance))
        return file.rsplit("/", 1)[-1]
    database = sqlite3.connect(os.path.join(home, "entail.db"))
    try:
        with database:
            what = change_row(database, chance)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return what
    except sqlite3.IntegrityError:
        return None
    finally:
        database.close()


def foreign(home):
    try:
        verify.Home(home).verify()
        return "ok"
    except verify.Newer:
        return "newer"
    except Exception:
        return "tampered"


def own(entail, home):
    environment = {**os.environ, "ENTAIL_HOME": home}
    ran = subprocess.run([entail, "verify"], env=environment, capture_output=True, text=True)
    if ran.returncode == 0:
        return "ok"
    return "newer" if "newer version" in ran.stderr else "tampered"


def main(entail, original, count, seed):
    chance = random.Random(int(seed))
    counts, disagreements = collections.Counter(), 0
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o700)
        assert own(entail, original) == foreign(original) == "ok"
        done = 0
        while done < int(count):
            home = os.path.join(directory, "home")
            shutil.copytree(original, home)
            what = mutate(home, chance)
            if what is not None:
                done += 1
                found = foreign(home), own(entail, home)
                counts[found] += 1
                if found[0] != found[1]:
                    disagreements += 1
                    print(f"{what}: verify.py says {found[0]}, entail verify says {found[1]}")
            shutil.rmtree(home)
    for (here, there), number in sorted(counts.items()):
        print(f"{number} homes: verify.py says {here}, entail verify says {there}")
    return 1 if disagreements else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
