#!/usr/bin/env bash
# Installs the tested clients at the pinned versions into target/clients.
# Exits with 3 if a program is missing or the packages cannot be downloaded.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
into=${1:-"$here/../../target/clients"}
mkdir -p "$into/node"
into=$(cd "$into" && pwd)

for program in python3 node npm openssl; do
    command -v "$program" >/dev/null || { echo "install: $program is not installed" >&2; exit 3; }
done

# Skips the installation if the same versions are already installed.
stamp=$(cat "$here"/{requirements.txt,constraints.txt,package.json,package-lock.json} | sha256sum)
if [[ -f "$into/installed" && "$(cat "$into/installed")" == "$stamp" ]]; then
    exit 0
fi
rm -f "$into/installed"

cp "$here/package.json" "$here/package-lock.json" "$into/node/"
if ! (cd "$into/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error); then
    echo "install: npm could not install the packages" >&2
    exit 3
fi
rm -rf "$into/python"
python3 -m venv "$into/python"
if ! "$into/python/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: \
    --requirement "$here/requirements.txt" --constraint "$here/constraints.txt"; then
    echo "install: pip could not install the packages" >&2
    exit 3
fi
echo "$stamp" >"$into/installed"
