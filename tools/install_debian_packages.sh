#!/bin/sh
# Installs the Debian programs that the tests start: Prometheus, Alertmanager, nginx, Chromium, wrk, kcat, Node.js; with the word `image`
# instead those that build and run the image. Only what is missing, and without starting or enabling any of their services:
# the tests start their own, on free ports.
set -eu

group=${1:-tests}

PATH="$PATH:/usr/sbin:/sbin"

missing=""
services=""

# need COMMAND PACKAGE [SERVICE]
need() {
    command -v "$1" >/dev/null && return
    missing="$missing $2"
    services="$services ${3:-}"
}

if [ "$group" = image ]; then
    need buildah buildah
    need runc runc
    need debootstrap debootstrap
else
    need prometheus prometheus prometheus.service
    need prometheus-alertmanager prometheus-alertmanager prometheus-alertmanager.service
    need nginx nginx nginx.service
    need chromium chromium
    need wrk wrk
    need kcat kcat
    need faketime faketime
    need node nodejs
    need npm npm
fi

[ -n "$missing" ] || exit 0

# Where the image cannot be built its tests say so themselves.
give_up() {
    echo "missing:$missing ($1)" >&2
    [ "$group" = image ] && exit 0
    exit 1
}

command -v apt-get >/dev/null || give_up "no apt-get here: install them by hand"

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        give_up "installing them needs root, and there is no sudo"
    fi
}

# Packages ask this program before they start a service; 101 means no. One that is there already is left alone.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'as_root rm -f "$policy"' EXIT
    as_root sh -c "printf '#!/bin/sh\nexit 101\n' >'$policy' && chmod 755 '$policy'"
fi

echo "installing:$missing"
as_root apt-get update -qq
# Word splitting is wanted here.
# shellcheck disable=SC2086
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing

for service in $services; do
    # Installed just now, so nobody relies on it starting with the machine.
    ! command -v systemctl >/dev/null || as_root systemctl --quiet disable "$service" || true
done
