/*
 * A small guest for payload tests: 1 MiB of RAM, an executor, both buses with a recording device on
 * each, and a vm on the real /dev/kvm. Payloads are assembled into the test program with PAYLOAD,
 * run at PAYLOAD_ADDR in real or long mode, and talk through ports.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "bus/bus.h"
#include "exec/executor.h"
#include "kvm/kvm.h"
#include "kvm/vm.h"
#include "kvm/x86_64/entry.h"
#include "mem/gmem.h"

enum {
    GUEST_MEM_SIZE = 0x100000,
    PAYLOAD_ADDR = 0x1000,
    PAYLOAD_AP_ADDR = 0x8000, /* start-up IPI vector 8 */
    PAGE_TABLE_ADDR = 0x10000,
    GDT_ADDR = 0x16000,
    IDT_ADDR = 0x17000,
    STACK_ADDR = 0x20000,
    DATA_ADDR = 0x30000,
};

/* What the devices claim. PORT_DONE ends guest_run. */
enum { PORT_BASE = 0x100, PORT_LEN = 0x100, PORT_DONE = 0x1f0, MMIO_LEN = 0x3000 };
#define MMIO_BASE 0xd0000000ULL

enum { RECORD_COUNT_MAX = 4096 };

struct record {
    uint64_t addr;
    uint64_t value;
    uint8_t size;
    bool is_write;
    bool is_port;
};

struct guest {
    struct kvm *kvm;
    struct gmem *mem;
    struct executor *executor;
    struct bus *port_bus, *mmio_bus;
    struct bus_range port_range, mmio_range;
    struct vm *vm;

    struct record records[RECORD_COUNT_MAX];
    uint32_t record_count;
    uint64_t read_value; /* the answer to every read */
    /* Optional: called for each access after it was recorded, instead of answering BUS_DONE. */
    enum bus_verdict (*on_access)(struct guest *guest, struct bus_access *access);
    struct bus_access *deferred;

    uint32_t done_count; /* writes to PORT_DONE */
    uint32_t done_seen;
    uint32_t parked_count;
    uint32_t parked_seen;
    bool ended;
    uint32_t stop_count;
    uint32_t stop_vcpu;
    enum vm_stop_reason stop_reason;
    char stop_detail[256];
};

/* Skips the test where there is no usable /dev/kvm. */
void guest_open(struct guest *guest, uint32_t vcpu_count);
/* Stops the vm, waits for its end, frees everything. */
void guest_close(struct guest *guest);

/* Copies the payload and sets vCPU 0's entry; long mode gets flat tables and an empty IDT. */
void guest_load(struct guest *guest, enum vm_entry_mode mode, const uint8_t *start,
                const uint8_t *end);
/* Handler of `vector` in long mode: `handler`, a label of the payload that begins at `start`. */
void guest_set_handler(struct guest *guest, uint8_t vector, const uint8_t *start,
                       const uint8_t *handler);
/* Runs the executor until the condition holds; fails when a vCPU stops before. */
void guest_run_until(struct guest *guest, bool (*until)(void *guest));
/* Resumes, and runs until PORT_DONE was written once more. */
void guest_run(struct guest *guest);
/* vm_pause, and runs until it is parked. */
void guest_pause(struct guest *guest);
void guest_check_record(const struct guest *guest, uint32_t index, bool is_write, uint64_t addr,
                        uint8_t size, uint64_t value);

/* PAYLOAD(name, "16", code) defines name and name_end. Written in Intel syntax. */
#define PAYLOAD(name, bits, code)                                                            \
    __asm__(".pushsection .rodata\n.intel_syntax noprefix\n.code" bits "\n" #name ":\n" code \
            "\n" #name "_end:\n.att_syntax prefix\n.code64\n.popsection\n");                 \
    extern const uint8_t name[], name##_end[]
