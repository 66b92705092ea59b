#!/bin/sh
# Prints the Python to build .venv with: 3.11 to 3.13 if there is one, else any newer one. $PYTHON wins.
fits() { "$1" -c "import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] < ($2)))" >/dev/null 2>&1; }

for below in "3, 14" "4, 0"; do
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if fits "$candidate" "$below"; then
            command -v "$candidate"
            exit 0
        fi
    done
done
echo "Prefloop needs Python 3.11 or newer: install it (Debian: apt install python3 python3-venv; macOS: brew install python@3.13), or name one: make demo PYTHON=/path/to/python3" >&2
exit 1
