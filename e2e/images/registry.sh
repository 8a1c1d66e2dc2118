#!/bin/bash
# Runs a registry on loopback, in as many guises as a test needs.
#
#   registry.sh start [NAME] [--listen HOST:PORT] [--data DIR] [--tls] [--auth basic|token] [--program PROGRAM]
#   registry.sh stop [NAME]           ends it; what was pushed stays
#   registry.sh status [NAME]         prints running or stopped; exit code 0 or 3
#   registry.sh hosts [NAME] DIR      writes DIR/HOST/hosts.toml, so that pulls of the upstream names go there
#
# PROGRAM is Debian's docker-registry, distribution (its third version), or crane, whose data directory is its own and
# which has a front for TLS; e2e/writers/tools.sh builds these two. NAME is `plain` when it is not given. Port 0, the default, lets the kernel choose. All share one
# data directory unless told otherwise, so that images are pushed once, to a plain one.
#
# HOLDFAST_TEST_CACHE     where everything lives, default ${XDG_CACHE_HOME:-$HOME/.cache}/holdfast-e2e
# HOLDFAST_REGISTRY_USER, HOLDFAST_REGISTRY_PASSWORD    for --auth, default holdfast, let-me-in
# HOLDFAST_TOKEN_TTL      seconds a bearer token is good for, default 300
#
# Files in CACHE/registry/NAME: address (HOST:PORT), url, registry.pid, registry.log, config.yml; with
# --auth token also token.url, token.pid and token.log (a line a request). CACHE/registry/tls/ca.pem is the CA.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${HOLDFAST_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast-e2e}
user=${HOLDFAST_REGISTRY_USER:-holdfast}
password=${HOLDFAST_REGISTRY_PASSWORD:-let-me-in}
hosts=(docker.io gcr.io k8s.gcr.io public.ecr.aws registry.k8s.io registry.holdfast.test)

export PATH=$PATH:$cache/writers/bin

usage() { sed -n '4,7s/^# *//p' "$0" >&2; exit 2; }
fail() { echo "registry.sh: $*" >&2; exit 1; }

# Whether the process in the pid file $1 is still the one that was started for this directory.
alive() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 1
  { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF "$home/"
}

# Waits until the file $2 has what the sed expression $3 prints, or the background process $1 is gone.
await() {
  local found pid
  pid=$(cat "$home/$1.pid")
  for _ in $(seq 200); do
    found=$(sed -n "$3" "$2" 2>/dev/null | head -n1) || true
    if [ -n "$found" ]; then echo "$found"; return; fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.02
  done
  tail -n5 "$home/$1.log" >&2
  fail "$1 of $name did not come up; see $home/$1.log"
}

# A CA of our own and a certificate for loopback, made once and again shortly before they expire.
# The token server signs with the same key.
certificates() {
  tls=$cache/registry/tls
  if openssl x509 -checkend 86400 -noout -in "$tls/cert.pem" >/dev/null 2>&1; then return; fi
  local new
  new=$(mktemp -d "$cache/registry/tls.XXXXXX")
  cat >"$new/extensions" <<'EOF'
basicConstraints=critical,CA:FALSE
extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost,DNS:registry.holdfast.test,IP:127.0.0.1,IP:::1
EOF
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=Holdfast test CA" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout "$new/ca.key" -out "$new/ca.pem" 2>/dev/null
  openssl req -newkey rsa:2048 -nodes -subj "/CN=localhost" -keyout "$new/key.pem" -out "$new/request.pem" 2>/dev/null
  openssl x509 -req -in "$new/request.pem" -CA "$new/ca.pem" -CAkey "$new/ca.key" -CAcreateserial -days 30 \
    -extfile "$new/extensions" -out "$new/cert.pem" 2>/dev/null
  rm -rf "$tls"
  mv "$new" "$tls"
}

# Starts $2... in the background with its output in $home/$1.log and its pid in $home/$1.pid.
background() {
  local what=$1
  shift
  setsid "$@" >"$home/$what.log" 2>&1 </dev/null &
  echo $! >"$home/$what.pid"
}

auth_config() {
  case $auth in
  none) ;;
  basic)
    # crypt(3) of Debian does bcrypt, and perl is always there; htpasswd may not be.
    SALT=$(openssl rand -hex 11) USER_NAME=$user PASSWORD=$password perl -e \
      'print "$ENV{USER_NAME}:", crypt($ENV{PASSWORD}, "\$2y\$05\$$ENV{SALT}"), "\n"' >"$home/htpasswd"
    echo "auth: {htpasswd: {realm: holdfast-test, path: $home/htpasswd}}" ;;
  token)
    background token python3 "$here/token_server.py" --key "$tls/key.pem" --certificate "$tls/cert.pem" \
      --user "$user" --password "$password" --ttl "${HOLDFAST_TOKEN_TTL:-300}" --url-file "$home/token.url"
    await token "$home/token.url" p >/dev/null
    echo "auth: {token: {realm: $(cat "$home/token.url"), service: holdfast-test, issuer: holdfast-test," \
      "rootcertbundle: $tls/cert.pem}}" ;;
  esac
}

# Starts $program; it logs the address it got, which is how port 0 becomes known without a race.
run_program() {
  command -v "$program" >/dev/null || fail "there is no $program"
  if [ "$program" != crane ]; then
    OTEL_TRACES_EXPORTER=none background registry "$program" serve "$home/config.yml"
    address=$(await registry "$home/registry.log" 's/.*listening on \([0-9.]*:[0-9]*\|\[[0-9a-f:]*\]:[0-9]*\).*/\1/p')
    return
  fi
  [ "$auth" = none ] || fail "crane serves everybody: no --auth"
  mkdir -p "$home/disk"
  background registry crane registry serve --address "$listen" --disk "$home/disk"
  address=127.0.0.1:$(await registry "$home/registry.log" 's/.*serving on port \([0-9]*\).*/\1/p')
  if [ $scheme = https ]; then
    background token python3 "$here/tls_front.py" --key "$tls/key.pem" --certificate "$tls/cert.pem" --to "$address" \
      --address-file "$home/front"
    address=$(await token "$home/front" p)
  fi
}

start() {
  local listen=127.0.0.1:0 data=$cache/registry/data scheme=http tls_config='' auth=none tls='' program=docker-registry
  while [ $# -gt 0 ]; do
    case $1 in
    --listen) listen=${2:?--listen wants HOST:PORT}; shift 2 ;;
    --data) data=${2:?--data wants a directory}; shift 2 ;;
    --tls) scheme=https; shift ;;
    --auth) auth=${2:?--auth wants basic or token}; shift 2 ;;
    --program) program=${2:?--program wants docker-registry, distribution or crane}; shift 2 ;;
    *) usage ;;
    esac
  done
  case $auth in none | basic | token) ;; *) usage ;; esac
  if alive "$home/registry.pid"; then echo "$(cat "$home/url") already running"; return; fi
  stop
  rm -rf "$home"
  mkdir -p "$home" "$data"
  # A start that fails half-way leaves no process behind.
  trap stop EXIT
  certificates
  [ $scheme = http ] || tls_config=", tls: {certificate: $tls/cert.pem, key: $tls/key.pem}"
  auth_config >"$home/auth.yml"
  cat >"$home/config.yml" <<EOF
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage:
  cache: {blobdescriptor: inmemory}
  filesystem: {rootdirectory: $data}
  delete: {enabled: true}
http: {addr: "$listen", relativeurls: true$tls_config}
$(cat "$home/auth.yml")
EOF
  local address
  run_program
  echo "$scheme://$address" >"$home/url"
  echo "$address" >"$home/address"
  trap - EXIT
  echo "$scheme://$address"
}

stop() {
  local what pid
  for what in registry token; do
    alive "$home/$what.pid" || continue
    pid=$(cat "$home/$what.pid")
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
  done
  rm -f "$home/address" "$home"/*url "$home"/*.pid
}

write_hosts() {
  local url ca=
  url=$(cat "$home/url" 2>/dev/null) || fail "$name is not running"
  case $url in https:*) ca="  ca = \"$cache/registry/tls/ca.pem\"" ;; esac
  for host in "${hosts[@]}"; do
    mkdir -p "$1/$host"
    cat >"$1/$host/hosts.toml" <<EOF
server = "$url/v2/$host"

[host."$url/v2/$host"]
  capabilities = ["pull", "resolve"]
  override_path = true
$ca
EOF
  done
}

[ $# -ge 1 ] || usage
command=$1
shift
name=plain
if [ $# -gt 0 ] && [[ $1 != --* ]] && { [ "$command" != hosts ] || [ $# -gt 1 ]; }; then name=$1; shift; fi
[[ $name =~ ^[a-z0-9-]+$ && $name != tls && $name != data ]] || fail "a name has letters, digits and - only: $name"
home=$cache/registry/$name
mkdir -p "$cache/registry"
case $command in
start) start "$@" ;;
stop) stop ;;
status) if alive "$home/registry.pid"; then echo running; else echo stopped; exit 3; fi ;;
hosts) [ $# -eq 1 ] || usage; write_hosts "$1" ;;
*) usage ;;
esac
