# The thin front door: Meson and ninja do the building, scripts/ does the rest.
#
#   make            build; the program is build/release/trapeze
#   make demo       boot Debian's stock cloud kernel: a shell on the terminal
#   make check      every test; the last line is "N passed, N failed, N skipped"
#   make check-long what takes minutes more: Linux with two processors under VT-x
#   make bench      benchmarks, against QEMU in the same run
#   make bench-soft guest programs, against QEMU: BENCH_SOFT='--rounds 1 --only integer'
#   make bench-kvm  the engine kvm, on this host and in the laboratory: BENCH_KVM='--rounds 5'
#   make bench-trap the policies of --trap compared: BENCH_TRAP='--rounds 5 --only soft'
#   make bare       the monitor without an operating system, as build/release/trapeze-bare.iso
#   make fuzz       build the fuzzers and run each for FUZZ_SECONDS (60)
#   make sanitize   the unit tests under the address and undefined-behaviour sanitizers
#   make install    to PREFIX (/usr/local), below DESTDIR if given
#   make clean      remove what was built (downloads stay; `make distclean` removes them too)

PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
RELEASE := build/release

.PHONY: all demo check check-long bench bench-soft bench-kvm bench-trap bare fuzz sanitize install clean distclean

all: $(RELEASE)/build.ninja
	@ninja -C $(RELEASE) --quiet trapeze

$(RELEASE)/build.ninja:
	@scripts/install-dependencies build
	@mkdir -p build
	@meson setup --prefix $(PREFIX) $(RELEASE) >$(RELEASE).log || { cat $(RELEASE).log; exit 1; }

demo:
	@scripts/install-dependencies demo
	@$(MAKE) --no-print-directory all
	@scripts/demo $(RELEASE)/trapeze

check:
	@scripts/install-dependencies test
	@scripts/run-tests

check-long:
	@scripts/install-dependencies test
	@scripts/run-tests --only vtx-long

bench:
	@scripts/install-dependencies test
	@$(MAKE) --no-print-directory all
	@scripts/run-benchmarks

bench-soft:
	@scripts/install-dependencies test
	@$(MAKE) --no-print-directory all
	@scripts/bench-soft $(BENCH_SOFT)

bench-kvm:
	@scripts/install-dependencies test
	@$(MAKE) --no-print-directory all
	@ninja -C $(RELEASE) --quiet bench/kvm_exit_bench
	@scripts/bench-kvm $(BENCH_KVM)

bench-trap:
	@scripts/install-dependencies test
	@$(MAKE) --no-print-directory all
	@scripts/bench-trap $(BENCH_TRAP)

bare:
	@scripts/install-dependencies bare
	@$(MAKE) --no-print-directory $(RELEASE)/build.ninja
	@ninja -C $(RELEASE) --quiet vtx/bare/trapeze-bare.elf
	@scripts/make-bare $(RELEASE)/vtx/bare/trapeze-bare.elf $(RELEASE)/trapeze-bare.iso

fuzz:
	@scripts/install-dependencies test
	@scripts/run-tests --only fuzz --fuzz-seconds $(FUZZ_SECONDS)

sanitize:
	@scripts/install-dependencies test
	@scripts/run-tests --only sanitize

install: all
	@meson configure $(RELEASE) -Dprefix=$(PREFIX)
	@ninja -C $(RELEASE) --quiet trapeze >$(RELEASE).log || { cat $(RELEASE).log; exit 1; }
	@meson install -C $(RELEASE) --quiet --no-rebuild --strip

clean:
	@rm -rf $(filter-out build/guest,$(wildcard build/*))

distclean:
	@rm -rf build
