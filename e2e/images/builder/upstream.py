"""Images under the names that critest, crictl and Kubernetes users know, with what these rely on."""

from .debian import GROUP, PASSWD, SRC, TRIPLETS, architecture, busybox
from .push import DOCKER, FOREIGN, OCI, Image
from .tree import Layer, Tree

CRI_TOOLS = "gcr.io/k8s-staging-cri-tools/"
E2E = "registry.k8s.io/e2e-test-images/"
SHELL = {"Cmd": ["sh"]}


def nginx(debian):
    root = debian.unpacked("nginx", "libc6", "libcrypt1", "libpcre2-8-0", "libssl3|libssl3t64", "zlib1g")
    tree = Tree().file("usr/sbin/nginx", root / "usr/sbin/nginx", 0o755)
    debian.add_libraries(tree, root, root / "usr/sbin/nginx")
    tree.file("etc/nginx/nginx.conf", SRC / "nginx.conf")
    tree.file("etc/nginx/conf.d/default.conf", nginx_site(80))
    tree.file("usr/share/nginx/html/index.html",
              "<html><title>Welcome to nginx!</title><h1>Welcome to nginx!</h1></html>\n")
    for folder in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
        tree.dir("var/lib/nginx/" + folder, 0o700, 33, 33)
    tree.dir("var/log/nginx").symlink("var/log/nginx/access.log", "/dev/stdout")
    return tree.symlink("var/log/nginx/error.log", "/dev/stderr")


def nginx_site(port):
    return f"server {{ listen {port}; root /usr/share/nginx/html; index index.html; }}\n"


def nginx_hostnet(_):
    return Tree().file("etc/nginx/conf.d/default.conf", nginx_site(12003))


def httpd(debian):
    root = debian.unpacked(
        "apache2-bin", "libapr1|libapr1t64", "libaprutil1|libaprutil1t64", "libc6", "libcrypt1", "libpcre2-8-0",
        "libexpat1", "libuuid1", "libssl3|libssl3t64", "zlib1g", "libdb5.3|libdb5.3t64", "libldap-2.5-0|libldap2", "libgcc-s1")
    home = "usr/local/apache2/"
    binary = root / "usr/sbin/apache2"
    modules = [root / f"usr/lib/apache2/modules/mod_{name}.so" for name in ("mpm_event", "authz_core", "dir", "mime")]
    tree = Tree().file(home + "bin/httpd", binary, 0o755)
    debian.add_libraries(tree, root, binary, *modules)
    # glibc opens it by name when a thread ends, so no binary says that it needs it.
    libgcc = next(root.rglob("libgcc_s.so.1"))
    tree.file(f"lib/{TRIPLETS[architecture()]}/{libgcc.name}", libgcc.resolve(), 0o755)
    for module in modules:
        tree.file(home + "modules/" + module.name, module)
    tree.file(home + "conf/httpd.conf", SRC / "httpd.conf").dir(home + "logs")
    tree.file(home + "conf/mime.types", "text/html html\ntext/plain txt\n")
    tree.file(home + "htdocs/index.html", "<html><body><h1>It works!</h1></body></html>\n")
    # argv[0] must be "httpd": critest looks for that word in the log.
    return tree.file(home + "bin/httpd-foreground", (
        "#!/bin/sh\nrm -f /usr/local/apache2/logs/httpd.pid\nexport PATH=/usr/local/apache2/bin:$PATH\n"
        'exec httpd -d /usr/local/apache2 -f conf/httpd.conf -e info -D FOREGROUND "$@"\n'), 0o755)


def setuid_root(debian):
    return Tree().file("nnp", debian.compiled("nnp.c"), 0o4755)


def pause(debian):
    return Tree().file("pause", debian.compiled("pause.c"), 0o755)


def predefined_group(_):
    tree = Tree().dir("home/default-user", 0o755, 1000, 1000)
    tree.file("etc/passwd", PASSWD + "default-user:x:1000:1000:Linux User,,,:/home/default-user:/bin/sh\n")
    return tree.file("etc/group", GROUP + "default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n")


class Upstream:
    """The catalog."""

    def __init__(self, debian, native):
        self.debian, self.native = debian, native

    def base(self):
        return self.debian.layer(busybox)

    def of(self, make):
        return lambda: self.debian.layer(make)

    def both(self, *layers):
        """An index: the same layers for this machine's architecture and for one it cannot run."""
        return {self.native: list(layers), FOREIGN: list(layers)}

    def images(self):
        yield from self._small()
        yield from self._servers()
        yield from self._specs()

    def _small(self):
        yield Image(E2E + "busybox:1.29-2", [], SHELL, OCI, self.both(self.base), "the small system of critest")
        yield Image("docker.io/library/busybox:latest", [self.base], SHELL, shows="the short name `busybox`")
        for tag in ("1.35.0-glibc", "1-uclibc", "1", "1-glibc", "1-musl"):
            config = {**SHELL, "Labels": {"variant": tag}}
            yield Image("public.ecr.aws/docker/library/busybox:" + tag, [self.base], config,
                        shows="critest's benchmark")
        yield Image(E2E + "nonewprivs:1.3", [], {"Entrypoint": ["/nnp"]}, OCI,
                    self.both(self.base, self.of(setuid_root)), "a setuid binary that prints its effective uid")
        for name in ("registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9", "registry.k8s.io/pause:3.10",
                     "registry.k8s.io/pause:3.10.1", "registry.k8s.io/pause:3.10.2"):
            config = {"Entrypoint": ["/pause"], "User": "65535:65535", "WorkingDir": "/",
                      "Labels": {"tag": name.rpartition(":")[2]}}
            yield Image(name, [], config, DOCKER, self.both(self.of(pause)),
                        "a pause image, which Holdfast does not need")

    def _servers(self):
        config = {"Cmd": ["nginx", "-g", "daemon off;"], "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT"}
        yield Image(E2E + "nginx:1.14-2", [], config, OCI, self.both(self.base, self.of(nginx)),
                    "a web server on port 80; stops on SIGQUIT")
        layers = [self.base, self.of(nginx), self.of(nginx_hostnet)]
        yield Image(CRI_TOOLS + "hostnet-nginx-amd64:latest", layers, config, DOCKER,
                    shows="a web server on port 12003, for the host's network")
        path = "/usr/local/apache2/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        config = {"Cmd": ["httpd-foreground"], "WorkingDir": "/usr/local/apache2", "StopSignal": "SIGWINCH",
                  "Env": ["PATH=" + path, "HTTPD_PREFIX=/usr/local/apache2"]}
        yield Image(E2E + "httpd:2.4.39-4", [], config, OCI, self.both(self.base, self.of(httpd)),
                    "a web server that logs to stderr")

    def _specs(self):
        tagged = [("latest:latest", "latest"), ("digest:latest", "digest"), ("tag:test", "tag-test"),
                  ("tag:all", "tag-all")]
        tagged += [(f"{n}:latest", n) for n in "123"]
        # One image under three tags.
        tagged += [(f"tags:{n}", "tags") for n in "123"]
        for name, mark in tagged:
            yield Image(CRI_TOOLS + "test-image-" + name, [], SHELL, DOCKER,
                        self.both(self.base, marked("test-image-" + mark)), "critest's image specs")
        for name, user in (("uid", "1002"), ("username", "www-data"), ("uid-group", "1003:users"),
                           ("username-group", "www-data:100")):
            yield Image(CRI_TOOLS + f"test-image-user-{name}:latest", [], {**SHELL, "User": user}, DOCKER,
                        self.both(self.base), f"USER {user}")
        yield Image(CRI_TOOLS + "test-image-predefined-group:latest", [], {**SHELL, "User": "1000"}, DOCKER,
                    self.both(self.base, self.of(predefined_group)),
                    "a supplementary group from the image's /etc/group")


def marked(name):
    """A layer that makes an image differ from the others."""
    return lambda: Layer.of(Tree().file(name, name + "\n"))
