#!/bin/sh
# Installs the system tools that the tests drive: SIP phones, a capture tool, spandsp, a browser, PostgreSQL, a
# software HSM, an OpenID Connect provider, and recorded speech in five languages for the detector's talk-off tests.
# `system-tools.sh bench` adds rtpengine, which bench-media measures beside paycall.
# Needs root or password-less sudo; without either it says what is missing. With CI=true that is a failure.
set -eu

tools="sipp:sip-tester baresip:baresip-core tshark:tshark espeak-ng:espeak-ng sox:sox kamailio:kamailio glewlwyd:glewlwyd"
[ "${1:-}" = bench ] && tools="$tools rtpengine:rtpengine-daemon"
missing=""
# Chromium without its windows: it starts a page at a third of the cost. Where apt has none, the whole browser will do.
browser=chromium-headless-shell
command -v apt-cache >/dev/null 2>&1 && [ -z "$(apt-cache search --names-only "^$browser\$")" ] &&
  [ -n "$(apt-cache search --names-only '^chromium$')" ] && browser=chromium
tools="$tools $browser:$browser"
for pair in $tools; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
ldconfig -p 2>/dev/null | grep -q libspandsp.so.2 || missing="$missing libspandsp2"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
ls /usr/lib/*/kamailio/modules/tls.so >/dev/null 2>&1 || missing="$missing kamailio-tls-modules"
[ -e /usr/lib/softhsm/libsofthsm2.so ] || missing="$missing softhsm2"
for language in en ru fr es it; do
  ls -d /usr/share/asterisk/sounds/${language}_* >/dev/null 2>&1 || missing="$missing asterisk-core-sounds-$language-wav"
done
ls /usr/share/asterisk/moh/*.wav >/dev/null 2>&1 || missing="$missing asterisk-moh-opsound-wav"

# Adyen's own schema is checked against a live peer where both lie here: the schema beside the project, and npm.
if [ -d ../shared/references/specs ] && [ ! -x build/prism/node_modules/.bin/prism ] && command -v npm >/dev/null 2>&1; then
  mkdir -p build/prism
  npm install --silent --no-audit --no-fund --prefix build/prism @stoplight/prism-cli@5.14.2 ||
    echo "paycall: Prism could not be installed; its three tests say so" >&2
fi
# promtool checks the example rules. Alone, out of its package: installing that would start a Prometheus here.
promtool() {
  [ -x build/tools/promtool ] && return 0
  command -v apt-get >/dev/null 2>&1 || return 1
  folder=$(mktemp -d)
  chmod 755 "$folder"
  (cd "$folder" && apt-get download -qq prometheus >/dev/null 2>&1 && dpkg-deb -x prometheus_*.deb .) &&
    install -D "$folder/usr/bin/promtool" build/tools/promtool
  found=$?
  rm -rf "$folder"
  return $found
}
promtool_only=" prometheus (promtool of it)"
if [ -z "$missing" ]; then
  promtool && exit 0
  missing=$promtool_only
fi

if [ "$(id -u)" = 0 ]; then as_root=""
elif sudo -n true 2>/dev/null; then as_root="sudo -n"
else as_root="no"
fi
if [ "$as_root" = no ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "paycall: the tests need these Debian packages, which could not be installed from here:$missing" >&2
  [ "${CI:-}" = true ] && exit 1
  exit 0
fi
echo "paycall: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -q >/dev/null
# shellcheck disable=SC2086
[ "$missing" = "$promtool_only" ] || $as_root apt-get install -y -q --no-install-recommends $missing >/dev/null
for service in rtpengine-daemon glewlwyd; do # the tests and the bench start their own; the package's stays off
  case "$missing" in *"$service"*)
    $as_root systemctl disable --now "$service" >/dev/null 2>&1 || $as_root service "$service" stop >/dev/null 2>&1 || true ;;
  esac
done
if ! promtool; then
  echo "paycall: promtool could not be taken from Debian's package prometheus" >&2
  [ "${CI:-}" = true ] && exit 1
fi
exit 0
