// The kernel's own cost of a pod: what no runtime can be faster than.
//
//   pause:     clone3(net, ipc, uts) and exec
//   container: clone3(pid, mnt), setns(net, ipc, uts) by pidfd, overlay, proc, tmpfs, sysfs, pivot_root, exec
//
// usage: floor COUNT DIRECTORY   (DIRECTORY is on a file system that can be an overlay's upper layer, and
// has lower/bin/true, a static program). Prints one line: `pause MEDIAN P99 pod MEDIAN P99 exec MEDIAN P99`,
// in microseconds. As root.
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static pid_t clone_with(uint64_t flags, int *pidfd) {
    struct clone_args args = {.flags = flags | CLONE_PIDFD, .pidfd = (uintptr_t)pidfd, .exit_signal = SIGCHLD};
    pid_t pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0) err(1, "clone3");
    return pid;
}

// The end of a close-on-exec pipe is the moment of a successful exec.
static void await_exec(int fd) {
    char byte;
    ssize_t n = read(fd, &byte, 1);
    if (n != 0) errx(1, "the child failed at step %d", n == 1 ? byte : -1);
    close(fd);
}

#define TRY(step, call) do { if ((call) < 0) { char s = (step); (void)!write(report, &s, 1); _exit(1); } } while (0)

static void container(int report, int pause, const char *dir) {
    char data[1024];
    TRY(1, setns(pause, CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS));
    TRY(2, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    TRY(3, chdir(dir));
    snprintf(data, sizeof data, "lowerdir=lower,upperdir=upper,workdir=work");
    TRY(4, mount("overlay", "root", "overlay", 0, data));
    TRY(5, chdir("root"));
    TRY(6, mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
    TRY(7, mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755"));
    TRY(8, mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL));
    TRY(9, syscall(SYS_pivot_root, ".", "."));
    TRY(10, umount2(".", MNT_DETACH));
    char *argv[] = {"/bin/true", NULL}, *envp[] = {NULL};
    TRY(11, execve(argv[0], argv, envp));
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void print(const char *name, uint64_t *times, int count) {
    qsort(times, count, sizeof *times, compare);
    printf("%s %.1f %.1f ", name, times[count / 2] / 1e3, times[count * 99 / 100] / 1e3);
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "pause")) {
        pause();
        return 0;
    }
    if (argc != 3) errx(2, "usage: floor COUNT DIRECTORY");
    int count = atoi(argv[1]);
    uint64_t *pauses = calloc(count, 8), *pods = calloc(count, 8), *execs = calloc(count, 8);
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < count; i++) {
        int report[2], pause_fd, container_fd;
        if (pipe2(report, O_CLOEXEC)) err(1, "pipe2");
        uint64_t start = now();
        pid_t first = clone_with(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS, &pause_fd);
        if (!first) {
            char *args[] = {"pause", "pause", NULL}, *env[] = {NULL};
            fexecve(self, args, env);
            _exit(1);
        }
        close(report[1]);
        await_exec(report[0]);
        pauses[i] = now() - start;
        if (pipe2(report, O_CLOEXEC)) err(1, "pipe2");
        pid_t second = clone_with(CLONE_NEWPID | CLONE_NEWNS, &container_fd);
        if (!second) container(report[1], pause_fd, argv[2]);
        close(report[1]);
        await_exec(report[0]);
        pods[i] = now() - start;
        waitpid(second, NULL, 0);
        // A further process in the same namespaces: what an exec costs at least.
        if (pipe2(report, O_CLOEXEC)) err(1, "pipe2");
        uint64_t before = now();
        int exec_fd;
        pid_t third = clone_with(0, &exec_fd);
        if (!third) {
            char *args[] = {"/bin/true", NULL}, *env[] = {NULL};
            if (setns(pause_fd, CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) == 0) execve(args[0], args, env);
            _exit(1);
        }
        close(report[1]);
        waitpid(third, NULL, 0);
        execs[i] = now() - before;
        close(report[0]);
        kill(first, SIGKILL);
        waitpid(first, NULL, 0);
        close(pause_fd), close(container_fd), close(exec_fd);
    }
    print("pause", pauses, count);
    print("pod", pods, count);
    print("exec", execs, count);
    puts("");
}
