# What people who work on Sallyport use. `make help` lists the targets.

PRESET ?= release
BUILD  := build/$(PRESET)
JOBS   ?= $(shell nproc)

.PHONY: help deps configure build run demo test test-full test-asan test-tsan fuzz bench format tidy install clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

deps: ## install the Debian packages that building and testing need
	@cmake/install-packages

configure: deps
	@test -f $(BUILD)/build.ninja || cmake --preset $(PRESET) --log-level=NOTICE

build: configure ## build everything (PRESET=release|debug|asan|tsan|clang)
	@cmake --build --preset $(PRESET) -j $(JOBS)

run: build ## start a demonstration and keep it up; Ctrl-C stops it
	@tests/demo --build $(BUILD)

demo: build ## the demonstration once, checked, with a summary
	@tests/demo --build $(BUILD) --once

test: build ## the tests that every change must pass
	@cd $(BUILD) && ctest --output-on-failure -j $(JOBS) -LE long --no-tests=error

test-full: build ## those and the long ones: power cycles, the client matrix, soak
	@cmake/install-packages long
	@cd $(BUILD) && ctest --output-on-failure -j $(JOBS) --no-tests=error

test-asan: ## the same tests under AddressSanitizer and UBSan; any report is a failure
	@$(MAKE) --no-print-directory build PRESET=asan
	@cmake/sanitized-tests asan $(JOBS)

test-tsan: ## the same tests under ThreadSanitizer; any report is a failure
	@$(MAKE) --no-print-directory build PRESET=tsan
	@cmake/sanitized-tests tsan $(JOBS)

fuzz: deps ## fuzz every parser, SECONDS=30 each
	@tests/fuzz/run $(or $(SECONDS),30) $(JOBS)

bench: build ## every benchmark, each against its rival in the same run
	@cmake/install-packages long
	@tests/bench/run-all --build $(BUILD)

format: ## clang-format over the tree
	@git ls-files '*.cc' '*.h' | xargs clang-format -i

tidy: ## clang-tidy over the tree
	@$(MAKE) --no-print-directory configure PRESET=clang
	@git ls-files 'base/*.cc' 'store/*.cc' 'pgp/*.cc' 'notify/*.cc' 'sftp/*.cc' 'daemon/*.cc' \
	  | xargs -P $(JOBS) -n 4 clang-tidy --quiet -p build/clang

install: build ## install programs, units, example configuration, man pages (DESTDIR is honoured)
	@cmake --install $(BUILD)

clean: ## remove what was built
	@rm -rf build
