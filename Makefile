# SPDX-License-Identifier: Apache-2.0
# One Makefile for everything; `make help` lists what it does. MODE chooses the tree:
# release (build/), asan (build/asan), tsan (build/tsan), cov (build/cov), fuzz (build/fuzz), aarch64
# (build/aarch64: the preload object and the tests of its parts, for the other processor).
# V=1 shows whole commands.

MODE ?= release
ifeq ($(MODE),release)
B := build
else
B := build/$(MODE)
endif

PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 5

Q := $(if $(V),,@)
say = @$(if $(or $(V),$(findstring s,$(firstword -$(MAKEFLAGS)))),:,printf '%-4s %s\n' "$(1)" "$(2)")

CC := gcc
CPPFLAGS := -I. -D_GNU_SOURCE -DNS_VERSION='"$(VERSION)"'
WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Werror
CFLAGS := -std=c17 -g $(WARNINGS) -fPIC -fvisibility=hidden -fno-plt -fstack-protector-strong
LDFLAGS := -Wl,-z,relro,-z,now

ifeq ($(MODE),release)
CFLAGS += -O2
CPPFLAGS += -D_FORTIFY_SOURCE=2
else ifeq ($(MODE),asan)
CFLAGS += -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -DNS_DEBUG
LDFLAGS += -fsanitize=address,undefined
else ifeq ($(MODE),tsan)
CFLAGS += -O1 -fsanitize=thread
LDFLAGS += -fsanitize=thread
else ifeq ($(MODE),cov)
CFLAGS += -O0 --coverage
LDFLAGS += --coverage
else ifeq ($(MODE),fuzz)
CC := clang
CFLAGS += -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -DNS_DEBUG
LDFLAGS += -fsanitize=address,undefined
else ifeq ($(MODE),aarch64)
CC := aarch64-linux-gnu-gcc
CFLAGS += -O2
CPPFLAGS += -D_FORTIFY_SOURCE=2 -isystem $(B)/sysroot/usr/include
LDFLAGS += -L$(B)/sysroot/usr/lib/aarch64-linux-gnu
else
$(error MODE is release, asan, tsan, cov, fuzz or aarch64, not $(MODE))
endif

# --- rooms -----------------------------------------------------------------------------------

objects = $(patsubst %,$(B)/obj/%.o,$(basename $(1)))

BASE := $(call objects,$(wildcard base/*.c))
WIRE := $(call objects,$(wildcard wire/*.c wire/providers/*.c))
PRICING := $(call objects,$(wildcard pricing/*.c pricing/*.S))
PROTOCOL := $(call objects,$(wildcard protocol/*.c))
SHIM := $(call objects,$(wildcard shim/*.c))
COLLECTOR_MAIN := $(B)/obj/collector/main.o
COLLECTOR := $(filter-out $(COLLECTOR_MAIN),$(call objects,$(wildcard collector/*.c))) $(call objects,$(wildcard sql/*.S))
CLI_MAIN := $(B)/obj/cli/main.o
CLI := $(filter-out $(CLI_MAIN),$(call objects,$(wildcard cli/*.c)))

LIB := $(B)/lib
ROOMS := $(LIB)/libcli.a $(LIB)/libcollector.a $(LIB)/libwire.a $(LIB)/libpricing.a $(LIB)/libprotocol.a $(LIB)/libbase.a

# The decoders, HPACK among them, are linked into the preload object as archives, hidden.
CODINGS := -l:libbrotlidec.a -l:libbrotlicommon.a -l:libzstd.a -l:libz.a -l:libnghttp2.a
PQ := -lpq
ZMQ := -lzmq

PROGRAMS := $(if $(wildcard shim/*.c),$(B)/libnullspend.so) $(if $(wildcard collector/main.c),$(B)/nullspendd) \
    $(if $(wildcard cli/main.c),$(B)/nullspend) $(if $(wildcard bpf/main.c),$(B)/nullspend-bpf)

ifeq ($(MODE),aarch64)
ROOMS := $(LIB)/libwire.a $(LIB)/libprotocol.a $(LIB)/libbase.a
PROGRAMS := $(B)/libnullspend.so
PQ :=
# By a path that is also for what libzmq itself needs (no new dtags).
ZMQ_PLACES := $(addprefix $(abspath $(B)/sysroot),/usr/lib/aarch64-linux-gnu /lib/aarch64-linux-gnu)
ZMQ := -Wl,--as-needed $(ZMQ_PLACES:%=-Wl,-rpath,%,-rpath-link,%) -Wl,--disable-new-dtags -lzmq
endif

.PHONY: all
all: $(PROGRAMS) ## builds everything into build/

$(LIB)/libbase.a: $(BASE)
$(LIB)/libwire.a: $(WIRE)
$(LIB)/libpricing.a: $(PRICING)
$(LIB)/libprotocol.a: $(PROTOCOL)
$(LIB)/libshim.a: $(SHIM)
$(LIB)/libcollector.a: $(COLLECTOR)
$(LIB)/libcli.a: $(CLI)
$(LIB)/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	@ar rcs $@ $^

# The Makefile holds the flags, so a change in it compiles anew.
$(B)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $($(firstword $(subst /, ,$*))_CFLAGS) -MMD -MP -c $< -o $@

$(B)/obj/%.o: %.S Makefile
	@mkdir -p $(@D)
	$(call say,AS,$<)
	$(Q)$(CC) $(CPPFLAGS) -g -fPIC -MMD -MP -c $< -o $@

$(B)/obj/pricing/builtin.o: pricing/catalogue.tsv
$(B)/obj/sql/migrations.o: $(wildcard sql/migrations/*.sql)

collector_CFLAGS := -I$(shell pg_config --includedir 2>/dev/null || echo /usr/include/postgresql)
cli_CFLAGS := $(collector_CFLAGS)
tests_CFLAGS := $(collector_CFLAGS)
bench_CFLAGS := $(collector_CFLAGS)

# base/mem.o stays out: the preload object has its own. Its functions mean each other by their names,
# whatever the program shows under the same (-Bsymbolic-functions): Node shows an SSL_write of its own.
# What makes system calls goes through shim/system_calls.c.
$(B)/libnullspend.so: $(SHIM) $(WIRE) $(PROTOCOL) $(filter-out %/mem.o,$(BASE)) shim/exports.map \
    shim/system_calls.options
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-z,defs,-z,nodelete,--exclude-libs,ALL,--gc-sections,-Bsymbolic-functions \
	    -Wl,--version-script=shim/exports.map @shim/system_calls.options -o $@ $(filter %.o,$^) $(CODINGS)

$(B)/nullspendd: $(COLLECTOR_MAIN) $(LIB)/libcollector.a $(LIB)/libpricing.a $(LIB)/libprotocol.a $(LIB)/libbase.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(ZMQ) $(PQ) -lcurl -lcrypto -lpthread

$(B)/nullspend: $(CLI_MAIN) $(LIB)/libcli.a $(LIB)/libprotocol.a $(LIB)/libbase.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PQ)

# The kernel's part is compiled for the kernel and put into a header.
$(B)/bpf/capture.bpf.o: bpf/capture.bpf.c $(wildcard bpf/*.bpf.h) bpf/record.h Makefile
	@mkdir -p $(@D)
	$(call say,BPF,$<)
	$(Q)clang -O2 -g -target bpf -Wall -Werror -D__TARGET_ARCH_x86 -I. -I/usr/include/$(shell uname -m)-linux-gnu -c $< -o $@
$(B)/bpf/capture.skel.h: $(B)/bpf/capture.bpf.o
	$(call say,SKEL,$@)
	$(Q){ echo '/* NOLINTBEGIN */' && PATH=$$PATH:/usr/sbin bpftool gen skeleton $< name capture_bpf && \
	    echo '/* NOLINTEND */'; } > $@.new && mv $@.new $@
$(B)/obj/bpf/capture.o: $(B)/bpf/capture.skel.h

$(B)/bpf/coverage.bpf.o: bpf/coverage.bpf.c bpf/sight.h Makefile
	@mkdir -p $(@D)
	$(call say,BPF,$<)
	$(Q)clang -O2 -g -target bpf -Wall -Werror -D__TARGET_ARCH_x86 -I. -I/usr/include/$(shell uname -m)-linux-gnu -c $< -o $@
$(B)/bpf/coverage.skel.h: $(B)/bpf/coverage.bpf.o
	$(call say,SKEL,$@)
	$(Q){ echo '/* NOLINTBEGIN */' && PATH=$$PATH:/usr/sbin bpftool gen skeleton $< name coverage_bpf && \
	    echo '/* NOLINTEND */'; } > $@.new && mv $@.new $@
$(B)/obj/bpf/sights.o: $(B)/bpf/coverage.skel.h
bpf_CFLAGS := -isystem $(B)/bpf

# Calls are told of as by the preload object, by the same code.
BPF_SHARED := $(patsubst %,$(B)/obj/shim/%.o,call config counters denial gate gate_post hello link log report spool tags \
    top_up unjudged) $(call objects,$(wildcard shim/http2*.c))
$(B)/nullspend-bpf: $(call objects,$(filter-out %.bpf.c,$(wildcard bpf/*.c))) $(BPF_SHARED) $(LIB)/libwire.a \
    $(LIB)/libprotocol.a $(LIB)/libbase.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(CODINGS) -lbpf -lZydis -lcrypto -lpthread

# --- tests -----------------------------------------------------------------------------------

UNIT := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/*_test.c))

# What needs no library of the distribution beyond the decoders and libzmq.
ifeq ($(MODE),aarch64)
UNIT := $(filter $(addprefix $(B)/tests/,wire_% protocol_% base_% shim_mem_% shim_gate_% call_memory_%),$(UNIT))
endif

# With a sanitizer run the suites that run the programs. The others look at the release build itself
# (abi, demo, harmless, soak) or at none of it (bpf, pricing_convert); those for threads, at threads.
E2E_asan := bpf_agent bpf_capture bpf_go bpf_reach by_record cli clients collector coverage crash http2 http2_streams loss mandate notify openssl privacy race request shim sql store streams streams_cut streams_ledger
E2E_tsan := by_record collector crash http2 http2_streams loss race shim streams_ledger
E2E_cov := $(E2E_asan)
E2E := $(if $(E2E_$(MODE)),$(E2E_$(MODE):%=tests/e2e/%_test.py),$(wildcard tests/e2e/*_test.py))

# The thread sanitizer wants memory where it expects it.
RUN := $(if $(filter tsan,$(MODE)),setarch -R )tests/run -j $(JOBS) --log-dir $(B)/logs \
    $(if $(filter aarch64,$(MODE)),--under "qemu-aarch64 -L /usr/aarch64-linux-gnu")
HARNESS := $(B)/obj/tests/harness.o

# Tests of the preload object's own parts link it first, for its memory.
$(B)/tests/shim_engine_test $(B)/tests/shim_backlog_test: TLS := -lssl -lcrypto
$(B)/tests/shim_%: $(B)/obj/tests/unit/shim_%.o $(HARNESS) $(LIB)/libshim.a $(ROOMS)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(CODINGS) $(ZMQ) $(PQ) $(TLS) -lpthread -lm

# HTTP/2 asks for nothing else of it: with the memory of base/, sanitizers see every byte. Objects, not
# the archive, out of which a sanitizer's runtime would take its dlsym.
$(B)/tests/http2_simulation_test $(B)/fuzz_http2: $(call objects,$(wildcard shim/http2*.c) shim/denial.c)

# What the agent reads of what clients say first.
$(B)/tests/client_hello_test $(B)/fuzz_client_hello: $(call objects,bpf/client_hello.c bpf/quic_initial.c)
$(B)/tests/client_hello_test $(B)/fuzz_client_hello: TLS := -lcrypto
$(B)/tests/coverage_places_test: $(call objects,bpf/coverage_places.c bpf/evidence.c)
$(B)/tests/bpf_evidence_test: $(call objects,bpf/evidence.c)

# So does what a call goes through.
$(B)/tests/call_memory_test: $(patsubst %,$(B)/obj/shim/%.o,call config connections counters elf_symbols gate gate_post hello link log \
    process report spool tags top_up unjudged vdso)

# What signs, and what is told of an event.
$(B)/tests/notifier_test: TLS := -lcrypto

# The agent's parts that need no kernel.
$(B)/tests/bpf_points_test: DISASSEMBLER := -lZydis
$(B)/tests/bpf_points_test: $(call objects,bpf/points.c)
# Go programs are found without the kernel's part, which attaches to them.
GO_FINDER := $(patsubst %,$(B)/obj/bpf/%.o,go go_code go_file go_table)
$(B)/tests/bpf_go_test: $(B)/obj/tests/unit/bpf_go_test.o $(HARNESS) $(GO_FINDER)
$(B)/fuzz_go_symbols: $(B)/obj/tests/fuzz/fuzz_go_symbols.o $(GO_FINDER)
$(B)/tests/bpf_go_test $(B)/fuzz_go_symbols:
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(if $(findstring fuzz_,$@),-fsanitize=fuzzer) -o $@ $(filter %.o,$^) -lZydis

$(B)/tests/%: $(B)/obj/tests/unit/%.o $(HARNESS) $(ROOMS)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(CODINGS) $(ZMQ) $(PQ) $(TLS) $(DISASSEMBLER) -lpthread -lm

FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
# As with the tests, those of the preload object's own parts link it first.
$(B)/fuzz_shim_%: $(B)/obj/tests/fuzz/fuzz_shim_%.o $(LIB)/libshim.a $(ROOMS)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(CODINGS) $(ZMQ) $(PQ) -lpthread -lm

$(B)/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(ROOMS)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(CODINGS) $(ZMQ) $(PQ) $(TLS) -lpthread -lm

# Programs that end-to-end tests drive.
TEST_PROGRAMS := $(patsubst tests/programs/%.c,$(B)/programs/%,$(wildcard tests/programs/*.c))
TEST_PROGRAMS += $(B)/programs/tls_client_static $(B)/programs/tls_client_static_pie $(B)/programs/bio_client_static $(B)/programs/tls_client_hidden
$(addprefix $(B)/programs/,bio_client depth hardship soak storm tls_client): TLS := -lssl -lcrypto
BORINGSSL := /usr/lib/$(shell uname -m)-linux-gnu/android
$(B)/programs/boring_client: TLS := $(BORINGSSL)/libssl.so.0 -Wl,-rpath,$(BORINGSSL) -Wl,--allow-shlib-undefined
$(B)/programs/gnutls_client: TLS := -lgnutls
$(B)/programs/layered_client: TLS := -lgnutls-openssl -lgnutls
$(B)/programs/nss_client: TLS := -lssl3 -lnss3 -lnspr4
# No OpenSSL beside these, which libpq would bring and whose names would answer for BoringSSL's.
$(addprefix $(B)/programs/,boring_client gnutls_client layered_client nss_client): ZMQ :=
$(addprefix $(B)/programs/,boring_client gnutls_client layered_client nss_client): PQ :=
$(B)/obj/tests/programs/nss_client.o: CPPFLAGS += -isystem /usr/include/nss -isystem /usr/include/nspr
# With an OpenSSL of their own, which they show as Node does; without a sanitizer, as Node is.
STATIC_TLS = $(Q)$(CC) $(CPPFLAGS) -std=c17 -O2 -rdynamic -o $@ $< -Wl,-Bstatic -lssl -lcrypto -Wl,-Bdynamic -lpthread
$(B)/programs/%_static: tests/programs/%.c Makefile
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(STATIC_TLS) -fno-pie -no-pie
# With one that nobody can see.
$(B)/programs/%_hidden: tests/programs/%.c Makefile
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(subst -rdynamic,-s,$(STATIC_TLS))
$(B)/programs/%_static_pie: tests/programs/%.c Makefile
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(STATIC_TLS) -fPIE -pie
$(B)/programs/%: $(B)/obj/tests/programs/%.o $(ROOMS)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(CODINGS) $(ZMQ) $(PQ) $(TLS) -lpthread -lm

BENCHES := $(patsubst bench/%.c,$(B)/bench/%,$(wildcard bench/*.c))
$(addprefix $(B)/bench/,agent governed_call node shim stream): TLS := -lssl -lcrypto
$(LIB)/libbench.a: $(call objects,$(wildcard bench/lib/*.c))
$(B)/bench/%: $(B)/obj/bench/%.o $(LIB)/libbench.a $(ROOMS)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(CODINGS) $(ZMQ) $(PQ) $(TLS) -lpthread -lm

.PHONY: unit e2e clients aarch64 soak simulate cov check fuzz fuzz-build lint format deps demo bench install uninstall clean help
unit: $(UNIT) ## unit tests of this MODE
	$(RUN) $(UNIT)

e2e: all $(TEST_PROGRAMS) ## whole-program tests of this MODE with real clients, real Postgres
	$(if $(E2E_$(MODE)),@$(MAKE) --no-print-directory -s MODE=release all)
	NS_BUILD="$(CURDIR)/$(B)" NS_CRASHES=$(if $(E2E_$(MODE)),30,100) $(RUN) $(E2E)

clients: all ## every client of the matrix; writes docs/clients.md
	@packaging/deps packages.txt packages-check.txt clients.txt
	NS_BUILD="$(CURDIR)/$(B)" NS_CLIENTS=all tests/e2e/clients_test.py

soak: all $(B)/programs/soak ## a million calls on one connection, with flat memory
	NS_BUILD="$(CURDIR)/$(B)" NS_SOAK_CALLS=$${NS_SOAK_CALLS:-1000000} tests/run --log-dir $(B)/logs tests/e2e/soak_test.py
	@grep '^# calls' $(B)/logs/soak_test.py.log

simulate: $(B)/tests/ledger_simulation_test $(B)/tests/http2_simulation_test ## random histories of the ledger and of HTTP/2, for NS_SECONDS (600)
	NS_BUILD="$(B)" tests/simulate $${NS_SECONDS:-600}

aarch64: ## the preload object for aarch64, and its parts' tests under emulation
	tests/aarch64

# Goes on where a test fails: a program that may open no file complains that it cannot save its counts.
cov: ## which share of each file the tests reach, from a tree of its own
	-$(MAKE) --no-print-directory -s -k -j $(JOBS) MODE=cov unit e2e
	tests/cov

check: ## everything: deps, build, all tests, sanitizers, short fuzzing, lint
	tests/check

fuzz-build: $(patsubst %,$(B)/fuzz_%,$(FUZZERS))

fuzz: ## every fuzz target for FUZZ_SECONDS seconds (default 5) from its seed corpus
	$(MAKE) --no-print-directory -j $(JOBS) MODE=fuzz fuzz-build
	tests/fuzz/run $(FUZZ_OPTIONS) $(FUZZ_SECONDS)

lint: ## clang-format, clang-tidy, cppcheck, the house rules, and the ABI of the preload object
	@$(MAKE) --no-print-directory -s MODE=release build/libnullspend.so
	tests/lint

format: ## rewrites all C files in the house style
	clang-format -i $$(git ls-files '*.c' '*.h')

deps: ## installs the distribution's packages that are missing
	@packaging/deps

demo: ## installs what is missing, builds, and shows the main job in a network of its own
	@packaging/deps packages.txt
	@$(MAKE) --no-print-directory -j $(JOBS) all
	@demo/run

bench: all $(BENCHES) ## measures, each figure beside its reference
	bench/run

DOC := $(PREFIX)/share/doc/nullspend
UNIT_DIR := $(PREFIX)/lib/systemd/system
UNITS := $(notdir $(wildcard packaging/*.service))
INSTALLED := $(patsubst $(B)/%,$(PREFIX)/bin/%,$(filter-out %.so,$(PROGRAMS))) \
    $(PREFIX)/lib/libnullspend.so $(UNITS:%=$(UNIT_DIR)/%)

install: all ## into DESTDIR/PREFIX (default /usr/local): programs, library, systemd units, documents
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/lib" "$(DESTDIR)$(UNIT_DIR)" "$(DESTDIR)$(DOC)"
	install -m 755 $(filter-out %.so,$(PROGRAMS)) "$(DESTDIR)$(PREFIX)/bin/"
	install -m 644 $(B)/libnullspend.so "$(DESTDIR)$(PREFIX)/lib/"
	for unit in $(UNITS); do \
	    sed 's|/usr/local|$(PREFIX)|' "packaging/$$unit" >"$(DESTDIR)$(UNIT_DIR)/$$unit" && \
	    chmod 644 "$(DESTDIR)$(UNIT_DIR)/$$unit" || exit 1; \
	done
	install -m 644 README.md LICENSE NOTICE docs/*.md "$(DESTDIR)$(DOC)/"

uninstall: ## removes what install put there
	rm -f $(foreach file,$(INSTALLED),"$(DESTDIR)$(file)")
	rm -rf "$(DESTDIR)$(DOC)"

clean: ## removes build/
	rm -rf build

help: ## this list
	@grep -hE '^[a-z0-9 -]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

.SECONDARY:
-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
