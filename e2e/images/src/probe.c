/* probe COMMAND ...: shows a container from the inside. One static binary for every test image.
 *
 *   shm-sysv  write KEY TEXT | read KEY      System V shared memory
 *   shm-posix write NAME TEXT | read NAME    POSIX shared memory, in /dev/shm
 *   mqueue    write NAME TEXT | read NAME    POSIX message queue
 *   ids                                      real, effective and saved ids and all groups
 *   status                                   capabilities, no_new_privs and seccomp of /proc/self/status
 *   hog MIB                                  touches that much memory, then waits
 *   cpu SECONDS                              burns so much time of one core, however long it takes to get it
 *   fork COUNT                               starts so many children; prints how many there could be
 *   orphan SECONDS                           leaves a grandchild to pid 1 and exits
 *   signals [NAME [CODE]]                    prints every signal; ends with CODE on NAME, else never
 *   fds                                      open descriptors and what they are
 *   tty                                      whether 0, 1, 2 are terminals, and the window's size
 *   raw                                      tries to open a raw socket
 *   socket FAMILY ...                        asks for a socket of each family; prints the families and errno, or 0
 *   out BYTES [LINE [CHUNK [1|2]]]           writes lines of LINE bytes, CHUNK bytes a write(2)
 *   exit CODE | kill NAME                    ends so
 *   args ...                                 arguments and environment, one a line
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SEGMENT = 4096 };

static void die(const char *what) {
    fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static const char *want(int argc, char **argv, int n, const char *what) {
    if (n < argc) return argv[n];
    fprintf(stderr, "probe: %s is missing\n", what);
    exit(2);
}

static int writing(int argc, char **argv) {
    return strcmp(want(argc, argv, 2, "write or read"), "write") == 0;
}

static void shm_sysv(int argc, char **argv) {
    int writes = writing(argc, argv);
    key_t key = (key_t)strtol(want(argc, argv, 3, "KEY"), NULL, 0);
    int id = shmget(key, SEGMENT, writes ? IPC_CREAT | 0666 : 0);
    if (id < 0) die("shmget");
    char *memory = shmat(id, NULL, 0);
    if (memory == (void *)-1) die("shmat");
    if (writes) snprintf(memory, SEGMENT, "%s", want(argc, argv, 4, "TEXT"));
    else puts(memory);
}

static void shm_posix(int argc, char **argv) {
    int writes = writing(argc, argv);
    int fd = shm_open(want(argc, argv, 3, "NAME"), writes ? O_CREAT | O_RDWR : O_RDONLY, 0666);
    if (fd < 0) die("shm_open");
    if (writes && ftruncate(fd, SEGMENT) < 0) die("ftruncate");
    char *memory = mmap(NULL, SEGMENT, writes ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) die("mmap");
    if (writes) snprintf(memory, SEGMENT, "%s", want(argc, argv, 4, "TEXT"));
    else puts(memory);
}

static void mqueue(int argc, char **argv) {
    int writes = writing(argc, argv);
    struct mq_attr attr = { .mq_maxmsg = 4, .mq_msgsize = SEGMENT };
    char text[SEGMENT + 1] = "";
    mqd_t queue = mq_open(want(argc, argv, 3, "NAME"), O_RDWR | O_NONBLOCK | (writes ? O_CREAT : 0), 0666, &attr);
    if (queue == (mqd_t)-1) die("mq_open");
    if (writes) {
        const char *message = want(argc, argv, 4, "TEXT");
        if (mq_send(queue, message, strlen(message), 0) < 0) die("mq_send");
    } else {
        if (mq_receive(queue, text, SEGMENT, NULL) < 0) die("mq_receive");
        puts(text);
    }
}

static void ids(void) {
    uid_t r, e, s;
    gid_t gr, ge, gs, groups[1024];
    getresuid(&r, &e, &s);
    getresgid(&gr, &ge, &gs);
    printf("uid %u %u %u\ngid %u %u %u\ngroups", r, e, s, gr, ge, gs);
    int count = getgroups(1024, groups);
    for (int i = 0; i < count; i++) printf(" %u", groups[i]);
    puts("");
}

static void status(void) {
    char line[512];
    FILE *file = fopen("/proc/self/status", "re");
    if (!file) die("/proc/self/status");
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, "Cap", 3) || !strncmp(line, "NoNewPrivs", 10) || !strncmp(line, "Seccomp", 7))
            fputs(line, stdout);
}

static void hog(int argc, char **argv) {
    size_t bytes = strtoull(want(argc, argv, 2, "MIB"), NULL, 10) << 20;
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) die("mmap");
    for (size_t at = 0; at < bytes; at += 4096) memory[at] = 1;
    printf("holding %zu bytes\n", bytes);
    for (;;) pause();
}

static void cpu(int argc, char **argv) {
    double seconds = strtod(want(argc, argv, 2, "SECONDS"), NULL);
    while ((double)clock() < seconds * CLOCKS_PER_SEC) ;
}

static void fork_many(int argc, char **argv) {
    int wanted = atoi(want(argc, argv, 2, "COUNT")), made = 0, error = 0;
    pid_t *children = calloc((size_t)wanted + 1, sizeof *children);
    for (; made < wanted; made++) {
        children[made] = fork();
        if (children[made] == 0) for (;;) pause();
        if (children[made] < 0) { error = errno; break; }
    }
    printf("%d of %d: %s\n", made, wanted, strerror(error));
    for (int i = 0; i < made; i++) kill(children[i], SIGKILL);
    while (wait(NULL) > 0) ;
    free(children);
}

static void orphan(int argc, char **argv) {
    unsigned seconds = (unsigned)atoi(want(argc, argv, 2, "SECONDS"));
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0) { sleep(seconds); _exit(0); }
        _exit(0);
    }
    waitpid(child, NULL, 0);
    puts("orphaned");
}

static int signal_number(const char *name) {
    for (int sig = 1; sig < NSIG; sig++) {
        const char *abbreviation = sigabbrev_np(sig);
        if (abbreviation && !strcmp(name + (strncmp(name, "SIG", 3) ? 0 : 3), abbreviation)) return sig;
    }
    return atoi(name);
}

static void signals(int argc, char **argv) {
    int last = argc > 2 ? signal_number(argv[2]) : 0, code = argc > 3 ? atoi(argv[3]) : 0, sig;
    sigset_t all;
    sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, NULL) < 0) die("sigprocmask");
    puts("ready");
    while (sigwait(&all, &sig) == 0) {
        const char *name = sigabbrev_np(sig);
        if (name) printf("got SIG%s\n", name);
        else printf("got %d\n", sig);
        if (sig == last) exit(code);
    }
}

static void fds(void) {
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) die("/proc/self/fd");
    char path[300], target[4096];
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(dir)) continue;
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length < 0) continue;
        target[length] = 0;
        printf("%s %s\n", entry->d_name, target);
    }
}

static void tty(void) {
    struct winsize size = {0};
    printf("%d %d %d\n", isatty(0), isatty(1), isatty(2));
    if (ioctl(0, TIOCGWINSZ, &size) == 0) printf("%d rows %d columns\n", size.ws_row, size.ws_col);
}

static void raw(void) {
    if (socket(AF_INET, SOCK_RAW, 1) < 0) die("raw socket");
    puts("raw socket opened");
}

static void out(int argc, char **argv) {
    long long total = atoll(want(argc, argv, 2, "BYTES"));
    long line = argc > 3 ? atol(argv[3]) : 128, chunk = argc > 4 ? atol(argv[4]) : 4096;
    int fd = argc > 5 ? atoi(argv[5]) : 1;
    if (line < 2) line = 2;
    chunk = chunk < line ? line : chunk - chunk % line;
    char *buffer = malloc((size_t)chunk);
    if (!buffer) die("malloc");
    for (long i = 0; i < chunk; i++) buffer[i] = (char)(i % line == line - 1 ? '\n' : 'a' + (i % line) % 26);
    while (total > 0) {
        long length = total < chunk ? (long)total : chunk;
        for (long at = 0; at < length;) {
            ssize_t wrote = write(fd, buffer + at, (size_t)(length - at));
            if (wrote < 0 && errno != EINTR) die("write");
            if (wrote > 0) at += wrote;
        }
        total -= length;
    }
    free(buffer);
}

static void args(int argc, char **argv) {
    extern char **environ;
    for (int i = 0; i < argc; i++) printf("arg %d %s\n", i, argv[i]);
    for (char **variable = environ; *variable; variable++) printf("env %s\n", *variable);
    char *directory = getcwd(NULL, 0);
    printf("cwd %s\n", directory ? directory : strerror(errno));
    free(directory);
}

static void end_by_signal(const char *name) {
    int sig = signal_number(name);
    signal(sig, SIG_DFL);
    kill(getpid(), sig);
    /* As pid 1 of its namespace a process is not ended by a signal it does not handle. */
    sleep(1);
    exit(1);
}

static void sockets(int argc, char **argv) {
    for (int n = 2; n < argc; n++) {
        int fd = socket((int)strtoul(argv[n], NULL, 0), SOCK_DGRAM, 0);
        printf("%s %d\n", argv[n], fd < 0 ? errno : 0);
        if (fd >= 0) close(fd);
    }
}
int main(int argc, char **argv) {
    const char *command = want(argc, argv, 1, "COMMAND");
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(command, "shm-sysv")) shm_sysv(argc, argv);
    else if (!strcmp(command, "shm-posix")) shm_posix(argc, argv);
    else if (!strcmp(command, "mqueue")) mqueue(argc, argv);
    else if (!strcmp(command, "ids")) ids();
    else if (!strcmp(command, "status")) status();
    else if (!strcmp(command, "hog")) hog(argc, argv);
    else if (!strcmp(command, "cpu")) cpu(argc, argv);
    else if (!strcmp(command, "fork")) fork_many(argc, argv);
    else if (!strcmp(command, "orphan")) orphan(argc, argv);
    else if (!strcmp(command, "signals")) signals(argc, argv);
    else if (!strcmp(command, "fds")) fds();
    else if (!strcmp(command, "tty")) tty();
    else if (!strcmp(command, "raw")) raw();
    else if (!strcmp(command, "socket")) sockets(argc, argv);
    else if (!strcmp(command, "out")) out(argc, argv);
    else if (!strcmp(command, "exit")) return atoi(want(argc, argv, 2, "CODE"));
    else if (!strcmp(command, "kill")) end_by_signal(want(argc, argv, 2, "NAME"));
    else if (!strcmp(command, "args")) args(argc, argv);
    else { fprintf(stderr, "probe: unknown command %s\n", command); return 2; }
    return 0;
}
