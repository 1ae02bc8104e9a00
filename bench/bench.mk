# Goals that measure. Each benchmark prints a table and writes build/bench/NAME.json.
REPORT_OBJ := $(call obj,$(call sources,src/report))
CLI_OBJ := $(call obj,$(call sources,src/cli))
# libuv is what the async library is compared with; nothing else uses it.
ASYNC_BENCH_OBJ := $(call obj,$(wildcard bench/async/*.c))

$(O)/bench-async: $(ASYNC_BENCH_OBJ) $(REPORT_OBJ) $(CLI_OBJ) $(O)/libringvm-async.a
	$(if $(Q),@echo LINK $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(shell pkg-config --libs libuv)

-include $(ASYNC_BENCH_OBJ:.o=.d)

.PHONY: bench-async bench-smoke
bench-async: $(O)/bench-async
	@mkdir -p build/bench
	$(O)/bench-async --json build/bench/async.json

# Little of everything: shows that the benchmarks run, not how fast. Part of make test.
bench-smoke: $(O)/bench-async $(O)/bench-start build/ringvm
	tests/bench/run $<
	tests/bench/run-guest build/ringvm $(O)/gen/bench-guest $(O)/bench-start
	tests/bench/documents

KVM_BENCH_OBJ := $(call obj,bench/kvm.c)

$(O)/bench-kvm: $(KVM_BENCH_OBJ) $(OBJ)
	$(if $(Q),@echo LINK $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

-include $(KVM_BENCH_OBJ:.o=.d)

.PHONY: bench-kvm
bench-kvm: $(O)/bench-kvm
	@mkdir -p build/bench
	$(O)/bench-kvm --json build/bench/kvm.json

VIRTIO_BENCH_OBJ := $(call obj,bench/virtio.c)

$(O)/bench-virtio: $(VIRTIO_BENCH_OBJ) $(OBJ)
	$(if $(Q),@echo LINK $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

-include $(VIRTIO_BENCH_OBJ:.o=.d)

.PHONY: bench-virtio
bench-virtio: $(O)/bench-virtio
	@mkdir -p build/bench
	$(O)/bench-virtio --json build/bench/virtio.json

# What guests get. Each part has a document of its own; build/bench/guest.json is all that there are. ROUNDS=1 is the
# least, for a look. linux takes most of the time: bench/linux-guest --help chooses from it.
GUEST_PARTS := $(patsubst %,build/bench/%.json,native start linux instructions)
ROUNDS_FLAG := $(if $(ROUNDS),--rounds $(ROUNDS))
CONTESTANT_OBJ := $(call obj,bench/contestant.c bench/footprint.c)

$(O)/bench-native $(O)/bench-start: $(O)/bench-%: $(O)/bench/%.o $(CONTESTANT_OBJ) $(OBJ)
	$(if $(Q),@echo LINK $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

-include $(CONTESTANT_OBJ:.o=.d) $(O)/bench/native.d $(O)/bench/start.d

# The bench guest on ringvm and on QEMU, on this machine's own KVM: its disk and network; its start, and idle.
.PHONY: bench-native bench-start
bench-native bench-start: bench-%: $(O)/bench-% build/ringvm
	@mkdir -p build/bench
	$< $(ROUNDS_FLAG) --json build/bench/$*.json
	bench/unite.sh build/bench/guest.json $(GUEST_PARTS)

# A stock guest on ringvm and on QEMU, on an emulated host where this machine's own KVM does not run it.
.PHONY: bench-linux
bench-linux: build/ringvm
	@mkdir -p build/bench
	bench/linux-guest $(ROUNDS_FLAG) --json build/bench/linux.json
	bench/unite.sh build/bench/guest.json $(GUEST_PARTS)

# Instructions of each of its requests, on an emulated host that counts them: the same on any machine, whatever else it
# does. Some minutes.
$(O)/linux-requests $(O)/linux-frames: $(O)/%: bench/%.c
	@mkdir -p $(@D)
	$(if $(Q),@echo LINK $@)
	$(Q)$(CC) $(ALL_CFLAGS) -static -o $@ $<

.PHONY: bench-instructions
bench-instructions: build/ringvm
	@mkdir -p build/bench
	bench/linux-instructions $(ROUNDS_FLAG) --json build/bench/instructions.json
	bench/unite.sh build/bench/guest.json $(GUEST_PARTS)

# As pictures: percentiles of the latency, and requests over depth.
.PHONY: bench-plots
bench-plots: build/ringvm
	@mkdir -p build/bench
	$< bench disk --wait both $(ROUNDS_FLAG) --json build/bench/guest-disk.json --svg build/bench/guest-disk-latency.svg \
	  --iops-svg build/bench/guest-disk-iops.svg
	$< bench net --wait both $(ROUNDS_FLAG) --json build/bench/guest-net.json --svg build/bench/guest-net-latency.svg
	$< bench exits $(ROUNDS_FLAG) --json build/bench/guest-exits.json --svg build/bench/guest-exits.svg

.PHONY: bench-guest bench
bench-guest: bench-native bench-start bench-plots bench-instructions bench-linux
bench: bench-async bench-kvm bench-virtio bench-guest

# make bench-compare OLD=DIRECTORY NEW=DIRECTORY: what became worse beyond the spread; also of single documents.
.PHONY: bench-compare
bench-compare:
	@bench/compare "$(OLD)" "$(NEW)"
