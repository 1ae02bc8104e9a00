/*
 * ELF64 kernels: where their segments go, and their notes. The file is hostile until elf_parse has
 * accepted it. Any thread; blocks.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "boot/file.h"
#include "mem/gmem.h"

enum { ELF_SEGMENT_COUNT_MAX = 32 };

/* Bytes [offset, offset + file_size) of the file at physical addresses [addr, addr + size), the
 * rest of which is zero. */
struct elf_segment {
    uint64_t offset, file_size;
    uint64_t addr, size;
};

/* Notes, one after the other, in bytes [offset, offset + size) of the file. */
struct elf_notes {
    uint64_t offset, size;
    uint64_t alignment; /* of names and descriptors: 4 or 8 */
};

struct elf {
    const struct boot_file *file;
    uint64_t entry;     /* inside of one segment */
    uint64_t base, end; /* all segments lie between */
    bool is_moved;      /* to the start of the range that it was parsed for */
    struct elf_segment segments[ELF_SEGMENT_COUNT_MAX];
    size_t segment_count;
    struct elf_notes notes[ELF_SEGMENT_COUNT_MAX];
    size_t note_count;
};

/*
 * Reads the headers of an executable for `machine` (EM_X86_64, ...), whose segments must lie in the
 * range `space` and not overlap. One for aarch64 whose entry is in the upper half of the address
 * space, as Linux is linked, is moved so that the entry is at the start of `space`. Errors:
 * -ENOEXEC, -ENODATA, -ENOMEM, what read(2) said. *elf refers to *file from then on.
 */
must_check int elf_parse(struct elf *elf, const struct boot_file *file, uint16_t machine,
                         const struct gmem_range *space, struct err *err);

/*
 * The unsigned number in the descriptor of the first note with that name and type; 4 or 8 bytes,
 * little-endian. -ENOENT when there is none; -ENOEXEC when the notes are malformed.
 */
must_check int elf_note_number(const struct elf *elf, const char *name, uint32_t type,
                               uint64_t *value, struct err *err);

/* True when [addr, addr + 1) belongs to a segment. */
bool elf_contains(const struct elf *elf, uint64_t addr);

/* What will lie at `addr`. -ENOENT unless all of it is in the file, in one segment. */
must_check int elf_peek(const struct elf *elf, uint64_t addr, void *buffer, size_t len,
                        struct err *err);

/* Copies the segments to guest memory, all of which is RAM (CHECK). */
must_check int elf_load(const struct elf *elf, struct gmem *mem, struct err *err);
