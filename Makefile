# Run as root on Debian or Ubuntu. All targets but build, check and clean first install what they need, also on a fresh
# machine.

SHELL := /bin/bash
CACHE := $(or $(HOLDFAST_TEST_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/holdfast-e2e)
export PATH := $(CACHE)/bin:$(HOME)/.cargo/bin:/usr/local/go/bin:$(PATH):/usr/sbin:/sbin

.PHONY: all build demo deb test crash chaos fuzz critest bench check clean

all: build

# The shim is built separately, only with the features that it needs, and linked statically. So it takes a few dozen KiB
# of memory in each pod instead of a few hundred. PROFILE=demo builds in a third of the time what is slower.
PROFILE ?= release
build:
	cargo build --profile $(PROFILE) -p holdfastd -p holdfast
	cargo rustc --profile $(PROFILE) -p holdfast-shim --bin holdfast-shim -- \
		-C target-feature=+crt-static -C relocation-model=static

# The Debian package, in target/debian.
deb:
	e2e/tools/install.sh package
	$(MAKE) --no-print-directory build
	deploy/package.sh

demo:
	e2e/tools/install.sh build
	$(MAKE) --no-print-directory build PROFILE=demo
	e2e/demo.sh

test:
	e2e/tools/install.sh test
	$(MAKE) --no-print-directory build
	.ci/check
	e2e/run.sh
	e2e/crash.sh
	e2e/chaos.sh --seed 4 --seconds 60
	e2e/fuzz/run.sh
	e2e/critest.sh
	e2e/deb.sh

# Runs every operation again and again, killed at each step of it.
crash:
	e2e/tools/install.sh test
	e2e/crash.sh

# Random calls of several clients, with kills and faults. CHAOS_SEED repeats a run, CHAOS_SECONDS is its length.
CHAOS_SECONDS ?= 600
chaos:
	e2e/tools/install.sh test
	e2e/chaos.sh --seconds $(CHAOS_SECONDS) $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))

# Hostile input for all code that reads untrusted bytes, half a minute for each target.
fuzz:
	e2e/tools/install.sh test
	e2e/fuzz/run.sh 30

# The CRI conformance suite: over SPDY, over WebSocket, and with four specs in parallel.
critest:
	e2e/tools/install.sh test
	$(MAKE) --no-print-directory build
	e2e/critest.sh

# PEER=containerd measures containerd and runc in the same run; containerd:DIRECTORY or /PATH/TO/crio takes the programs
# from there. CNI=debian takes Debian's network plugins. CGROUP=2 mounts only the tree of cgroup v2, in a namespace of its own.
# TIMELINE=1 draws where the time of each call goes. COUNT is the number of pods that live one after the other.
bench:
	e2e/tools/install.sh $(if $(filter containerd,$(PEER)),peer,test)
	$(MAKE) --no-print-directory build
	cargo run --release -p e2e --bin bench -- $(if $(filter 2,$(CGROUP)),cgroup2) $(if $(PEER),peer $(PEER)) $(if $(TIMELINE),timeline) $(COUNT) $(CNI)

check:
	.ci/check

clean:
	cargo clean
