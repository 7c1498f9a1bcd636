# The module, built against the nginx found on the machine (NGINX=system, Debian's nginx-dev), against the one that the
# nginx-src crate carries (NGINX=vendored), that of Debian sid (NGINX=recent), or against NGINX_BUILD_DIR.

NGINX   ?= system
# nginx itself takes an environment variable of this name for sockets that it inherits.
unexport NGINX
CARGO   ?= cargo
MODULE   = ngx_http_session_redis_module
OUT      = objs/$(NGINX)
SO       = $(OUT)/$(MODULE).so
TOOL     = objs/session-redis
MODULES ?= /usr/lib/nginx/modules
BINDIR  ?= /usr/bin

# What the vendored nginx has beyond its crate's defaults: what Debian's has, for the same tests.
VENDORED_ARGS = --with-debug --with-http_auth_request_module --with-http_stub_status_module --with-http_slice_module

ifeq ($(NGINX),vendored)
BINARY   = $(CURDIR)/$(OUT)/nginx
FEATURES = --features vendored
BUILD_ENV = env -u NGINX_BUILD_DIR -u NGINX_SOURCE_DIR NGX_CONFIGURE_ARGS="$(VENDORED_ARGS)"
else
BINARY   = $(if $(filter recent,$(NGINX)),$(CURDIR)/$(OUT)/nginx/sbin/nginx,$(or $(TEST_NGINX_BINARY),$(shell command -v nginx || echo /usr/sbin/nginx)))
BUILD_ENV = env NGINX_BUILD_DIR="$(or $(NGINX_BUILD_DIR),$(CURDIR)/$(OUT)/nginx/objs)"
CONFIGURED = $(if $(NGINX_BUILD_DIR),,$(OUT)/nginx/objs/Makefile)
endif

# What does not depend on nginx is built once for both.
TARGET = objs/$(if $(filter recent,$(NGINX)),vendored,$(NGINX))/target
BUILD  = $(BUILD_ENV) $(CARGO) build --quiet --release --lib --target-dir $(TARGET) $(FEATURES)
RUN    = $(TEST_ENV) t/run.sh $(TESTS)
TEST_ENV = TEST_NGINX_BINARY=$(BINARY) TEST_NGINX_LOAD_MODULES=$(CURDIR)/$(SO)

.PHONY: all build demo test unit suite run suite-vendored suite-recent asan valgrind bench bench-hostile lint fuzz fuzz-slow install deps clean help
.DEFAULT_GOAL := all

all: build $(TOOL) ## Build the module and the program session-redis

# A running worker maps the file: it is replaced, never written to.
build: $(CONFIGURED)
	@mkdir -p $(OUT)
	@# cargo gives the modules for two nginxes one name, and takes one for the other.
	@[ "$$(cat $(TARGET)/built-for 2>/dev/null)" = $(NGINX) ] || rm -f $(TARGET)/release/deps/lib$(MODULE).so
	$(BUILD)
	@echo $(NGINX) >$(TARGET)/built-for
	@cp $(TARGET)/release/lib$(MODULE).so $(SO).new && mv $(SO).new $(SO)
ifeq ($(NGINX),vendored)
	@cp "$$(ls -t $(TARGET)/release/build/nginx-sys-*/out/objs/nginx | head -n 1)" $(BINARY).new
	@mv $(BINARY).new $(BINARY)
endif
	@echo "built $(SO)"

TOOL_PROFILE = tool
.PHONY: $(TOOL)
$(TOOL):
	$(CARGO) build --quiet --profile $(TOOL_PROFILE) --bin session-redis --no-default-features --features cli --target-dir target
	@cp target/$(patsubst dev,debug,$(TOOL_PROFILE))/session-redis $(TOOL).$$$$ && mv $(TOOL).$$$$ $(TOOL)

objs/system/nginx/objs/Makefile: auto/system
	auto/system objs/system/nginx

objs/recent/nginx/objs/Makefile: auto/recent auto/system
	auto/recent objs/recent/nginx
	@touch $@

demo: ## Install what is missing, build, log a user in, show what the backend got (ARGS=--once ends by itself)
	./deps.sh build demo
	$(MAKE) --no-print-directory build
	MODULE=$(CURDIR)/$(SO) NGINX_BINARY=$(BINARY) demo/run.sh $(ARGS)

# Which applications log users in, what stores speak and how servers fail over is no matter of nginx's version: once
# is enough.
ONCE = t/00% t/auth.t t/cache.t t/chaos.t t/cluster% t/express.t t/learn-apps.t t/learn-fleet.t t/live-% t/memcached.t \
    t/pipelining.t t/protocol.t t/proxy.t t/sentinel% t/shared.t t/slow.t

# What nginx's structures matter to, in the newest nginx; of these, what says something more in that of the crate.
RECENT = $(patsubst %,t/%.t,client_gone config-checks destroy explain id inherit learn learn-held phases require route \
    set_header sticky strip touch variables)
BOTH   = t/config-checks.t t/require.t t/sticky.t

# Link-time optimisation takes a minute or two: one of the two modules that are tested has it.
QUICK = CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16

test: ## All tests: the plain half, then the module in three nginxes
	./deps.sh build test express live
	t/live/install.sh
	$(MAKE) --no-print-directory unit
	SESSION_REDIS_LIVE=1 $(MAKE) --no-print-directory NGINX=system suite
	$(QUICK) $(MAKE) --no-print-directory NGINX=vendored build
	$(QUICK) $(MAKE) --no-print-directory NGINX=recent build
	$(QUICK) $(MAKE) --no-print-directory --jobs=2 --output-sync=target suite-vendored suite-recent

# Side by side: they wait most of their time.
suite-vendored:
	@$(MAKE) --no-print-directory NGINX=vendored run \
	    TESTS="$(filter-out $(ONCE) $(filter-out $(BOTH),$(RECENT)),$(wildcard t/*.t)) nginx-conf/"

suite-recent:
	@$(MAKE) --no-print-directory NGINX=recent run TESTS="$(RECENT)"

unit: ## The plain half, without nginx
	$(CARGO) test --quiet --no-default-features

# The program is tested as it is built fastest.
suite: TOOL_PROFILE = dev
suite: build $(TOOL) ## The test suite in one nginx
	$(RUN)

run:
	$(RUN)

TESTS ?= t/ nginx-conf/

# Allocations of nginx's pools are single ones then, so that each is checked. RUSTC_BOOTSTRAP lets a stable compiler
# do it; the target is named so that programs of the build itself are not checked.
ASAN      = objs/asan
RUST_HOST = $(shell rustc -vV | sed -n 's/^host: //p')

asan: ## The tests of the store side, with nginx and module under AddressSanitizer
	@mkdir -p $(ASAN)
	env -u NGINX_BUILD_DIR -u NGINX_SOURCE_DIR -u NGINX ASAN_OPTIONS=detect_leaks=0 NGX_CONFIGURE_ARGS="$(VENDORED_ARGS)" \
	    NGX_CFLAGS="-fsanitize=address -fno-omit-frame-pointer -g -O1 -DNGX_DEBUG_PALLOC=1" NGX_LDFLAGS=-fsanitize=address \
	    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -Cforce-frame-pointers=yes" \
	    $(CARGO) build --quiet --lib --no-default-features --features vendored --target $(RUST_HOST) --target-dir $(ASAN)/target
	@cp $(ASAN)/target/$(RUST_HOST)/debug/lib$(MODULE).so $(ASAN)/$(MODULE).so
	@cp "$$(ls -t $(ASAN)/target/$(RUST_HOST)/debug/build/nginx-sys-*/out/objs/nginx | head -n 1)" $(ASAN)/nginx
	TEST_NGINX_BINARY=$(CURDIR)/$(ASAN)/nginx TEST_NGINX_LOAD_MODULES=$(CURDIR)/$(ASAN)/$(MODULE).so t/memcheck.sh asan

# An allocator that valgrind does not know would hide what it looks for.
valgrind: FEATURES += --no-default-features --features module
valgrind: build ## The same tests under valgrind
	$(TEST_ENV) t/memcheck.sh valgrind

bench: ## The module beside what it replaces, figures in bench/results
	./deps.sh build test bench
	$(MAKE) --no-print-directory build
	MODULE=$(CURDIR)/$(SO) NGINX_BINARY=$(BINARY) bench/run.sh $(ARGS)
	$(CARGO) bench --quiet --no-default-features --bench formats | tee bench/results/formats.md

bench-hostile: ## What the worst sessions known cost, and whether that is bounded
	@$(CARGO) bench --quiet --no-default-features --bench hostile -- --check >bench/results/hostile.md; \
	    status=$$?; cat bench/results/hostile.md; exit $$status

fuzz: ## Fuzz each decoder for SECONDS (3)
	./deps.sh fuzz
	fuzz/run.sh $(or $(SECONDS),3)

fuzz-slow: ## Search for sessions that cost more time, in each format for SECONDS (60); the worst are in fuzz/slow
	$(CARGO) bench --quiet --no-default-features --bench hostile -- --search=$(or $(SECONDS),60)

# What clippy refuses beside its own lints, auto/layout.rs writes while the module is built.
lint: $(CONFIGURED) ## Formatting and lints; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --quiet --no-default-features --features cli --all-targets -- -D warnings
	$(BUILD_ENV) $(CARGO) check --quiet --target-dir $(TARGET) $(FEATURES)
	CLIPPY_CONF_DIR="$$(dirname $$(ls -t $(TARGET)/debug/build/$(MODULE)-*/out/clippy.toml | head -n 1))" \
	    $(BUILD_ENV) $(CARGO) clippy --quiet --target-dir $(TARGET) $(FEATURES) -- -D warnings

install: build $(TOOL) ## Install the module into nginx's directory of modules, and session-redis
	install -D -s -m 644 $(SO) $(DESTDIR)$(MODULES)/$(MODULE).so
	install -D -s -m 755 $(TOOL) $(DESTDIR)$(BINDIR)/session-redis

deps: ## Install what a fresh Debian 12 lacks
	./deps.sh build test express live demo bench

clean: ## Remove what was built
	rm -rf objs target

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
