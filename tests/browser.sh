#!/usr/bin/env bash
# Prints the path of a Chromium, or of a browser made from it. Installs one where that is possible without asking (root
# on Debian), else says what to install.
set -euo pipefail

if [ -n "${ETL_TEST_BROWSER:-}" ]; then
    command -v "$ETL_TEST_BROWSER" && exit 0
    echo "error: ETL_TEST_BROWSER names no program: $ETL_TEST_BROWSER" >&2
    exit 1
fi

# Chrome first: where both are, Chromium may be a snap, which sees no files outside its own folders.
find_browser() {
    local name
    for name in google-chrome google-chrome-stable chromium chromium-browser microsoft-edge; do
        command -v "$name" && return 0
    done
    return 1
}

find_browser && exit 0
# Ubuntu's package of that name only calls snap, which a container doesn't have.
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null && ! grep -qs '^ID=ubuntu' /etc/os-release; then
    echo "installing chromium" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >&2
    find_browser && exit 0
fi
echo "error: the tests look at a report in a browser; please install one, or name it in ETL_TEST_BROWSER" >&2
echo "  Debian: sudo apt-get install chromium    Fedora: sudo dnf install chromium" >&2
echo "  Ubuntu, whose Chromium is a snap: Google Chrome, https://www.google.com/chrome" >&2
exit 1
