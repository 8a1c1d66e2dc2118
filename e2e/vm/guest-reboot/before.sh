# First boot: the daemon as a service, one container that runs, one that has ended with 3, a container's log.
set -eu
install -m 755 bin/holdfastd bin/holdfast bin/holdfast-shim bin/crictl /usr/local/bin/
install -D -m 644 deploy/holdfastd.service /etc/systemd/system/holdfastd.service
install -D -m 644 deploy/config.toml /etc/holdfast/config.toml
install -D -m 644 deploy/crictl.yaml /etc/crictl.yaml
systemctl daemon-reload
systemctl enable -q --now holdfastd
holdfast image import tree localhost/busybox:latest
cat >/root/pod.yaml <<'YAML'
apiVersion: v1
kind: Pod
metadata:
  name: survivor
spec:
  restartPolicy: Never
  containers:
  - name: runs
    image: localhost/busybox:latest
    command: [sleep, "1000000"]
  - name: ended
    image: localhost/busybox:latest
    command: [sh, -c, "seq 1 100; exit 3"]
YAML
holdfast run /root/pod.yaml
for _ in $(seq 100); do
  crictl ps -a --name ended -o json | grep -q CONTAINER_EXITED && break
  sleep 0.2
done
crictl ps -a
cat /proc/sys/kernel/random/boot_id >/root/boot_id
# The copies for the next boot follow within a second or two.
sleep 4
