# Goals that install, check and format.
PREFIX  ?= /usr/local
DESTDIR ?=
C_FILES = $(shell git ls-files '*.c' '*.h')

.PHONY: deps lint format install help
deps:
	@tools/deps.sh $(ARCH)

lint: lint-format lint-includes lint-logs lint-readme lint-shell lint-tidy
.PHONY: lint-format lint-includes lint-logs lint-readme lint-shell lint-tidy
lint-format:
	@clang-format --dry-run -Werror $(C_FILES)
lint-includes:
	@tools/lint/includes.sh
lint-logs:
	@tools/lint/guest-logs.sh
lint-readme:
	@tools/lint/readme-paths.sh
lint-shell:
	@shellcheck -x -S warning $$(git grep -lE '^#(!.*sh$$|!.*/sh |! shellcheck shell)' -- . ':!*.c' ':!*.h') tests/guest/cases/*
# One stamp per file, so that a second run checks what changed.
TIDY_SRC = $(filter-out $(foreach a,$(OTHER_ARCH),$(foreach m,$(MODULES),src/$(m)/$(a)/% tests/unit/$(m)/$(a)/%)) tests/unit/tsan/%,$(shell git ls-files 'src/*.c' 'tests/*.c' 'bench/*.c'))
lint-tidy: $(addprefix build/lint/,$(TIDY_SRC:.c=.tidy))
# Only what no other architecture has.
.PHONY: lint-tidy-arch
lint-tidy-arch: $(patsubst %.c,build/lint/%.tidy,$(filter $(foreach m,$(MODULES),src/$(m)/$(ARCH)/% tests/unit/$(m)/$(ARCH)/%),$(TIDY_SRC)))
build/lint/%.tidy: %.c .clang-tidy
	@mkdir -p $(@D)
	@clang-tidy --quiet $< -- $(CROSS:%=--target=%-linux-gnu --sysroot=$(B)/sysroot) \
	  $(filter-out -Wduplicated-cond -Wlogical-op,$(ALL_CFLAGS)) > $@.log 2>&1 \
	  || { grep -v 'warnings generated' $@.log; exit 1; }
	@touch $@

format:
	clang-format -i $(C_FILES)

# The monitor, and the async library for other programs: docs/async.md.
install: install-ringvm install-async
.PHONY: install-ringvm install-async
install-ringvm: build/ringvm
	install -D -m 755 build/release/ringvm $(DESTDIR)$(PREFIX)/bin/ringvm

$(O)/library/libringvm-async.a: $(O)/libringvm-async.a tools/library.sh $(wildcard $(ASYNC:%=src/%/*.h))
	$(if $(Q),@echo LIBRARY $@)
	$(Q)tools/library.sh $(@D) $<
install-async: $(O)/library/libringvm-async.a
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib $<
	rm -rf $(DESTDIR)$(PREFIX)/include/ringvm
	install -d $(DESTDIR)$(PREFIX)/include
	cp -r $(<D)/include/ringvm $(DESTDIR)$(PREFIX)/include/
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' tools/ringvm-async.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/ringvm-async.pc

help:
	@sed -n '2,/^$$/s/^#\( *\)/\1/p' Makefile
