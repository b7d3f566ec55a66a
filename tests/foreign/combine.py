"""Combines shares of a recovery key of Entail to the age identity, without Entail.

Written from host/FORMATS.md alone. Needs nothing but Python.

    combine.py FILE FILE...    prints the identity: age --decrypt --identity IDENTITY ...

The caller checks that the recipient of the identity (`age-keygen -y`) is the public key of the
shares.
"""

import sys
from pathlib import Path

PREFIX, KEY_PREFIX = "entail-share-", "age-secret-key-"
CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
SIZE = 1 + 1 + 1 + 8 + 32


def checksum(prefix, values):
    """BIP 173: the remainder of a text, 1 if its checksum is right."""
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    rest = 1
    for value in expanded + values:
        top, rest = rest >> 25, (rest & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(GENERATORS):
            rest ^= generator if top >> bit & 1 else 0
    return rest


def decode(text, prefix, size):
    text = text.lower() if text.isupper() else text
    found, _, data = text.rpartition("1")
    values = [CHARACTERS.find(c) for c in data]
    if found != prefix or -1 in values or checksum(prefix, values) != 1:
        raise ValueError("a damaged share")
    bits = "".join(f"{value:05b}" for value in values[:-6])
    if len(bits) // 8 != size or len(bits) % 8 > 4 or "1" in bits[8 * size :]:
        raise ValueError("a share of another length")
    return int(bits[: 8 * size], 2).to_bytes(size, "big")


def encode(prefix, data):
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]
    rest = checksum(prefix, values + [0] * 6) ^ 1
    values += [rest >> 5 * (5 - at) & 31 for at in range(6)]
    return f"{prefix}1{''.join(CHARACTERS[value] for value in values)}".upper()


def multiply(a, b):
    product = 0
    for bit in range(8):
        product ^= a << bit if b >> bit & 1 else 0
    for bit in range(14, 7, -1):
        product ^= 0x11B << (bit - 8) if product >> bit & 1 else 0
    return product


def divide(a, b):
    return next(q for q in range(256) if multiply(q, b) == a)


def combine(shares):
    """The key: each polynomial at 0, by Lagrange."""
    numbers = [share[2] for share in shares]
    threshold = shares[0][1]
    if any(share[0] != 1 for share in shares):
        raise ValueError("a share of another version")
    if len({(share[1], share[3:11]) for share in shares}) > 1:
        raise ValueError("shares of different keys")
    if len(set(numbers)) < len(numbers) or 0 in numbers:
        raise ValueError("a share twice")
    if len(shares) < threshold:
        raise ValueError(f"{len(shares)} shares, and {threshold} are needed")
    key = bytearray(32)
    for share, x in zip(shares, numbers):
        weight = 1
        for other in numbers:
            if other != x:
                weight = multiply(weight, divide(other, other ^ x))
        for at, y in enumerate(share[11:]):
            key[at] ^= multiply(weight, y)
    return bytes(key)


def read(file):
    lines = [line.strip() for line in Path(file).read_text().splitlines()]
    (line,) = [line for line in lines if line and not line.startswith("#")]
    return decode(line, PREFIX, SIZE)


if __name__ == "__main__":
    try:
        print(encode(KEY_PREFIX, combine([read(file) for file in sys.argv[1:]])))
    except (ValueError, IndexError) as error:
        sys.exit(f"combine.py: {error}")
