# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets. Everything that is made lands in build/.

PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= $(if $(SAN),build/san,build)
CC      := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
CLANG   ?= clang
BPFTOOL ?= $(or $(wildcard build/cache/bin/bpftool),$(shell PATH=$$PATH:/usr/sbin:/sbin command -v bpftool),bpftool)
V       ?= 0
Q       := $(if $(filter 1,$(V)),,@)
say      = @$(if $(filter 1,$(V)),:,printf '  %-8s %s\n') '$(1)' '$(2)'

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.DEFAULT_GOAL := all

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings \
	-Wundef -Wvla -Wformat=2
LIBS := openssl libbpf libmnl yaml-0.1 libevent libevent_openssl jansson libcap-ng libseccomp libcurl libxdp sqlite3 libnghttp2 ldns
, := ,
SAN_FLAGS := $(if $(SAN),-fsanitize=address$(,)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
HARDEN  := -fstack-protector-strong -fPIE $(if $(SAN),,-D_FORTIFY_SOURCE=2)
INCLUDE := -Iinclude -Iuser -I$(BUILD)
CPPFLAGS += $(INCLUDE) -D_GNU_SOURCE -MMD -MP
CFLAGS  ?= -O2 -g
CFLAGS_ALL = -std=gnu11 $(WARN) $(HARDEN) $(SAN_FLAGS) $(CFLAGS)
LDFLAGS_ALL = -pie -Wl,-z,relro,-z,now $(SAN_FLAGS) $(LDFLAGS)
LDLIBS = $(shell pkg-config --libs $(LIBS))

# Every room is a folder; a file named main*.c is a program and everything else is in the library.
ROOM_SRC := $(filter-out %/main.c,$(wildcard user/*/*.c))
ROOM_OBJ := $(ROOM_SRC:%.c=$(BUILD)/obj/%.o)
BPF_SRC  := $(wildcard bpf/*.bpf.c)
SKEL     := $(BPF_SRC:bpf/%.bpf.c=$(BUILD)/skel/%.skel.h)
TESTLIB  := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/lib/*.c))
UNIT     := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/*/*_test.c))
BPFTEST  := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/bpf/*_test.c))
NETHELP  := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/net/*.c tests/judge/*.c))
CRASH    := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/crash/*_test.c))
BENCH    := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/bench/*.c))
FUZZ     := $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))
REPLAY   := $(FUZZ:%=$(BUILD)/tests/fuzz/%_replay)

all: $(BUILD)/bailey $(BUILD)/baileyd $(BUILD)/bailey-agent $(BUILD)/bailey-kms $(BUILD)/bailey-mesh $(BUILD)/bailey-vpc compile_commands ## build/bailey, build/baileyd, build/bailey-agent, build/bailey-kms, build/bailey-mesh, build/bailey-vpc

# --- BPF objects and skeletons -------------------------------------------------------------------------------
BPF_FLAGS := -g -O2 -target bpf -mcpu=v3 -std=gnu11 -Wall -Wextra -Werror -Wno-missing-declarations -Iinclude -Ibpf

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c
	$(call say,BPF,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_FLAGS) -MMD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@.tmp
	$(Q)$(BPFTOOL) gen object $@ $@.tmp

$(BUILD)/skel/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(call say,SKEL,$@)
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf > $@

# --- user space ----------------------------------------------------------------------------------------------
$(BUILD)/obj/%.o: %.c | $(SKEL)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -c $< -o $@

$(BUILD)/libbailey.a: $(ROOM_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/bailey: $(BUILD)/obj/user/cli/main.o $(BUILD)/libbailey.a
$(BUILD)/baileyd: $(BUILD)/obj/user/baileyd/main.o $(BUILD)/libbailey.a
$(BUILD)/bailey-agent: $(BUILD)/obj/user/agent/main.o $(BUILD)/libbailey.a
$(BUILD)/bailey-kms: $(BUILD)/obj/user/kms/main.o $(BUILD)/libbailey.a
$(BUILD)/bailey-mesh: $(BUILD)/obj/user/meshd/main.o $(BUILD)/libbailey.a
$(BUILD)/bailey-vpc: $(BUILD)/obj/user/vpcd/main.o $(BUILD)/libbailey.a
$(BUILD)/bailey $(BUILD)/baileyd $(BUILD)/bailey-agent $(BUILD)/bailey-kms $(BUILD)/bailey-mesh $(BUILD)/bailey-vpc:
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LDLIBS) -o $@

$(BUILD)/tests/fuzz/%_replay: $(BUILD)/obj/tests/fuzz/%_fuzz.o $(BUILD)/obj/tests/fuzz/replay.o $(BUILD)/libbailey.a
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LDLIBS) -o $@

# Helpers of namespace tests and of the demo, which needs no test library.
$(BUILD)/tests/net/%: $(BUILD)/obj/tests/net/%.o $(BUILD)/libbailey.a
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LDLIBS) -o $@

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(TESTLIB) $(BUILD)/libbailey.a
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LDLIBS) -lcmocka -o $@

-include $(shell find $(BUILD)/obj $(BUILD)/bpf -name '*.d' 2>/dev/null)

# --- tests ---------------------------------------------------------------------------------------------------
tests: all $(UNIT) $(BPFTEST) $(CRASH) $(NETHELP) $(REPLAY) ## build the tests without running them

check: deps-test ## install what the tests need, build, run: unit, BPF and namespace tests, style, fuzz corpora
	$(Q)$(MAKE) --no-print-directory tests
	$(Q)BUILD=$(BUILD) tests/run.sh check unit fuzz bpf crash net judge

check-unit: tests ## unit tests alone (no root)
	$(Q)BUILD=$(BUILD) tests/run.sh unit

check-bpf: tests ## BPF_PROG_TEST_RUN on the real objects (root)
	$(Q)BUILD=$(BUILD) tests/run.sh bpf

check-crash: tests ## kill -9 at every step of open, commit, attach and destroy, not only at some (root)
	$(Q)BUILD=$(BUILD) CRASH_STEPS=0 TEST_TIMEOUT=3600 tests/run.sh crash

check-net: tests ## namespace tests (root)
	$(Q)BUILD=$(BUILD) tests/run.sh net

check-equal: all $(BUILD)/tests/equal/equal ## a million random packets: loaded programs against image and explain (root; CASES= SEED=)
	$(Q)$(BUILD)/tests/equal/equal $(or $(CASES),1000000) $(SEED)

check-fuzz: ## fuzz every parser, FUZZ_S seconds each (default 30), with ASan and UBSan
	$(Q)tests/fuzz/run.sh $(or $(FUZZ_S),30) $(FUZZ)

vmtest: deps-vm tests ## the BPF and namespace tests in a VM with Debian's 6.12 kernel (K=6.12; K=6.1,6.12)
	$(Q)BUILD=$(BUILD) vmtest/run.sh $(or $(K),6.12)

bench: deps-bench tests $(BENCH) ## measure against peers; writes build/bench/results.json
	$(Q)BUILD=$(BUILD) tests/bench/run.sh

demo: deps-demo ## three attested nodes, one policy, enforced in the kernel (KEEP=1 leaves it running)
	$(Q)$(MAKE) --no-print-directory all $(BUILD)/tests/net/forge $(BUILD)/tests/net/talk
	$(Q)BUILD=$(BUILD) KEEP=$(KEEP) tests/demo/run.sh

demo-cluster: deps-cluster ## PostgreSQL under Patroni and etcd over the overlay: the primary is killed (KEEP=1 leaves it running)
	$(Q)$(MAKE) --no-print-directory all $(BUILD)/tests/net/forge $(BUILD)/tests/net/talk
	$(Q)BUILD=$(BUILD) KEEP=$(KEEP) tests/demo/cluster.sh

lint: deps-test tests ## clang-format check, clang-tidy, cppcheck, shellcheck
	$(Q)BUILD=$(BUILD) tests/lint.sh

# --- set-up --------------------------------------------------------------------------------------------------
deps: ## install what a build needs (Debian 12 and 13, Ubuntu 24.04; as root)
	$(Q)tests/setup/deps.sh build
deps-test deps-vm deps-bench deps-demo deps-cluster: deps-%:
	$(Q)tests/setup/deps.sh build $*

install: all ## install binaries, man pages, unit files and examples (DESTDIR= PREFIX=)
	$(Q)install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man8 \
		$(DESTDIR)$(PREFIX)/share/doc/bailey/examples $(DESTDIR)$(PREFIX)/lib/systemd/system
	$(Q)install -m 755 $(BUILD)/bailey $(DESTDIR)$(PREFIX)/bin/bailey
	$(Q)install -m 755 $(BUILD)/baileyd $(DESTDIR)$(PREFIX)/sbin/baileyd
	$(Q)install -m 755 $(BUILD)/bailey-agent $(DESTDIR)$(PREFIX)/sbin/bailey-agent
	$(Q)install -m 755 $(BUILD)/bailey-kms $(DESTDIR)$(PREFIX)/sbin/bailey-kms
	$(Q)install -m 755 $(BUILD)/bailey-mesh $(DESTDIR)$(PREFIX)/sbin/bailey-mesh
	$(Q)install -m 755 $(BUILD)/bailey-vpc $(DESTDIR)$(PREFIX)/sbin/bailey-vpc
	$(Q)for n in 1 5 8; do for m in docs/man/*.$$n; do \
		install -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man$$n/; done; done
	$(Q)install -m 644 policy/examples/*.yaml $(DESTDIR)$(PREFIX)/share/doc/bailey/examples/
	$(Q)sed 's|@PREFIX@|$(PREFIX)|' docs/baileyd.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/baileyd@.service
	$(Q)sed 's|@PREFIX@|$(PREFIX)|' docs/bailey-vpc.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/bailey-vpc.service
	$(Q)chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/baileyd@.service $(DESTDIR)$(PREFIX)/lib/systemd/system/bailey-vpc.service

compile_commands: $(BUILD)/compile_commands.json
$(BUILD)/compile_commands.json: Makefile $(ROOM_SRC)
	$(Q)mkdir -p $(@D) && { echo '['; sep=; for f in $(ROOM_SRC) $(wildcard user/*/main.c); do \
		printf '%s{"directory":"%s","file":"%s","command":"cc $(INCLUDE) -D_GNU_SOURCE -std=gnu11 -c %s"}\n' \
		"$$sep" "$(CURDIR)" "$$f" "$$f"; sep=,; done; echo ']'; } > $@

clean: ## remove what was built (keeps downloaded packages and kernels in build/cache)
	$(Q)find build -mindepth 1 -maxdepth 1 ! -name cache -exec rm -rf {} + 2>/dev/null || :

help: ## this list
	@awk -F':.*## ' '/^[a-z_-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile
	@echo '  variables: V=1 (commands), SAN=1 (ASan and UBSan), ONLY=text,... (tests whose name has one), CFLAGS, PREFIX, DESTDIR'

.PHONY: all tests check check-unit check-bpf check-crash check-net check-equal check-fuzz vmtest bench demo demo-cluster lint deps deps-test deps-vm \
	deps-bench deps-demo deps-cluster install compile_commands clean help
