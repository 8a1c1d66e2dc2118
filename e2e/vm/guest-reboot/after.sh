# Second boot: what had ended is known, nothing of the old boot is left, pods run, and a wedged daemon is replaced.
set -eu
fail() { echo "FAIL: $*" >&2; journalctl -u holdfastd --no-pager | tail -n 40 >&2; exit 1; }
must() { what=$1; shift; "$@" >/tmp/out 2>&1 || { cat /tmp/out >&2; fail "$what"; }; }
condition() { crictl info | tr -d ' \n' | grep -o "\"$1\"" | head -n 1; }

[ "$(cat /root/boot_id)" != "$(cat /proc/sys/kernel/random/boot_id)" ] || fail "this is the same boot"
for _ in $(seq 300); do systemctl -q is-active holdfastd && break; sleep 0.2; done
must "the service is active" systemctl is-active holdfastd
for _ in $(seq 150); do
  crictl info | tr -d ' \n' | grep -q '"status":true,"type":"RuntimeReady"' && break
  sleep 0.2
done
crictl info | tr -d ' \n' | grep -q '"status":true,"type":"RuntimeReady"' || fail "RuntimeReady: $(crictl info)"

ended=$(crictl ps -a -q --name ended)
runs=$(crictl ps -a -q --name runs)
[ -n "$ended" ] && [ -n "$runs" ] || fail "containers are forgotten: $(crictl ps -a)"
crictl inspect "$ended" >/tmp/ended
grep -q '"exitCode": 3' /tmp/ended || fail "exit code of ended: $(grep exitCode /tmp/ended)"
crictl inspect "$runs" >/tmp/runs
grep -q 'NodeRebooted' /tmp/runs || fail "reason of runs: $(grep reason /tmp/runs)"
[ "$(crictl logs "$ended" | wc -l)" = 100 ] || fail "the log has $(crictl logs "$ended" | wc -l) lines"
crictl pods | grep -q NotReady || fail "the pod's state: $(crictl pods)"
[ "$(holdfast debts | wc -l)" = 1 ] || fail "debts: $(holdfast debts)"
[ -z "$(ls /run/netns 2>/dev/null)" ] || fail "network namespaces: $(ls /run/netns)"
echo "ok: what had ended is known, what ran is NodeRebooted, nothing is owed"

must "the old pod goes" holdfast rm survivor
[ -z "$(ls /var/lib/holdfast/containers)" ] || fail "directories: $(ls /var/lib/holdfast/containers)"
must "a pod runs from the verified image" holdfast run /root/pod.yaml
must "it answers" holdfast exec survivor/runs -- echo hello
group=$(ls -d /sys/fs/cgroup/holdfast.slice/holdfast-*.scope 2>/dev/null | head -n 1)
[ -n "$group" ] || fail "no scope: $(systemd-cgls --no-pager | head -n 40)"
echo "ok: pods run in $group"

# systemd's own watchdog: one thread of the daemon is stopped, so that it stops answering its own calls.
mkdir -p /run/systemd/system/holdfastd.service.d
printf '[Service]\nWatchdogSec=20\n' >/run/systemd/system/holdfastd.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart holdfastd
pid=$(systemctl show -P MainPID holdfastd)
sleep 25
[ "$(systemctl show -P MainPID holdfastd)" = "$pid" ] || fail "a daemon that is well was killed by the watchdog"
python3 guest-reboot/wedge.py "$pid" &
for _ in $(seq 120); do
  now=$(systemctl show -P MainPID holdfastd)
  [ "$now" != "$pid" ] && [ "$now" != 0 ] && break
  sleep 1
done
[ "$now" != "$pid" ] && [ "$now" != 0 ] || fail "the wedged daemon $pid was not replaced"
journalctl -u holdfastd --no-pager | grep -q 'Watchdog timeout' || fail "systemd tells of no watchdog"
for _ in $(seq 100); do holdfast pods >/dev/null 2>&1 && break; sleep 0.2; done
must "the pod has survived" holdfast exec survivor/runs -- echo hello
echo "ok: systemd replaced the wedged daemon $pid by $now, and the pod ran on"
must "remove" holdfast rm survivor
