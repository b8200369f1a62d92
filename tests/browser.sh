#!/usr/bin/env bash
# Prints the path of Chromium or of a browser based on it. Installs Chromium as root on Debian, else
# prints how to install one.
set -euo pipefail

if [ -n "${ETL_TEST_BROWSER:-}" ]; then
    command -v "$ETL_TEST_BROWSER" && exit 0
    echo "error: ETL_TEST_BROWSER is not a program: $ETL_TEST_BROWSER" >&2
    exit 1
fi

# Chrome comes first: Chromium may be a snap, which can't read files outside its own folders.
find_browser() {
    local name
    for name in google-chrome google-chrome-stable chromium chromium-browser microsoft-edge; do
        command -v "$name" && return 0
    done
    return 1
}

find_browser && exit 0
# Ubuntu's package installs a snap, which does not work in a container.
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null &&
    ! grep -qs '^ID=ubuntu' /etc/os-release; then
    echo "installing chromium" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >&2
    find_browser && exit 0
fi
cat >&2 <<'END'
error: the tests need a browser; install one, or set ETL_TEST_BROWSER to its path
  Debian: sudo apt-get install chromium
  Fedora: sudo dnf install chromium
  Ubuntu, whose Chromium is a snap: Google Chrome, https://www.google.com/chrome
END
exit 1
