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
bench-smoke: $(O)/bench-async build/ringvm
	tests/bench/run $<
	tests/bench/run-guest build/ringvm

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

NATIVE_BENCH_OBJ := $(call obj,bench/native.c)

$(O)/bench-native: $(NATIVE_BENCH_OBJ) $(OBJ)
	$(if $(Q),@echo LINK $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

-include $(NATIVE_BENCH_OBJ:.o=.d)

# The bench guest on ringvm and on QEMU, on this machine's own KVM.
.PHONY: bench-native
bench-native: $(O)/bench-native build/ringvm
	@mkdir -p build/bench
	$(O)/bench-native --json build/bench/native.json

.PHONY: bench-guest
bench-guest: build/ringvm
	bench/linux-guest

.PHONY: bench
bench: bench-async bench-kvm bench-virtio bench-native bench-guest
