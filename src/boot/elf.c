#include "boot/elf.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"

enum {
    /* More than any kernel has, so that a crafted file costs no more than a real one. */
    PHDR_COUNT_MAX = 64,
    NOTE_COUNT_MAX = 256,
    NOTE_NAME_SIZE_MAX = 16,
};

static int malformed(const struct boot_file *file, const char *what, struct err *err)
{
    return err_set(err, -ENOEXEC, "%s %s: malformed ELF file (%s); copy or build it again",
                   file->kind, file->path, what);
}

static const char *machine_name(uint16_t machine)
{
    switch (machine) {
    case EM_X86_64:
        return "x86_64";
    case EM_AARCH64:
        return "aarch64";
    case EM_386:
        return "i386";
    case EM_RISCV:
        return "riscv";
    default:
        return "another machine";
    }
}

/* Linux for aarch64 has virtual addresses alone, and runs at its offset from any multiple of 2 MiB.
 */
static bool is_position_independent(const Elf64_Ehdr *header)
{
    return header->e_machine == EM_AARCH64 && header->e_entry >> 63;
}

static int header_check(const struct boot_file *file, const Elf64_Ehdr *header, uint16_t machine,
                        uint64_t file_size, struct err *err)
{
    uint64_t end;

    if (header->e_ident[EI_CLASS] != ELFCLASS64)
        return err_set(err, -ENOEXEC, "%s %s: is a 32-bit ELF file; give a 64-bit kernel",
                       file->kind, file->path);
    if (header->e_ident[EI_DATA] != ELFDATA2LSB || header->e_ident[EI_VERSION] != EV_CURRENT)
        return malformed(file, "not little-endian, or of unknown version", err);
    if (header->e_machine != machine)
        return err_set(err, -ENOEXEC, "%s %s: is for %s; give a kernel for %s", file->kind,
                       file->path, machine_name(header->e_machine), machine_name(machine));
    if (header->e_type != ET_EXEC && !(header->e_type == ET_DYN && is_position_independent(header)))
        return err_set(err, -ENOEXEC,
                       "%s %s: is an ELF object, library or program; give vmlinux or vmlinuz",
                       file->kind, file->path);
    if (header->e_phentsize != sizeof(Elf64_Phdr))
        return malformed(file, "size of a program header", err);
    if (!header->e_phnum || header->e_phnum > PHDR_COUNT_MAX)
        return malformed(file, "number of program headers", err);
    if (!u64_add(header->e_phoff, header->e_phnum * sizeof(Elf64_Phdr), &end))
        return malformed(file, "offset of the program headers", err);
    if (end > file_size)
        return err_set(err, -ENODATA, "%s %s: is truncated: %llu bytes; copy it again", file->kind,
                       file->path, (unsigned long long)file_size);
    return 0;
}

/* The part in the file; `phdr` is a copy. */
static int extent_check(const struct boot_file *file, const Elf64_Phdr *phdr, uint64_t file_size,
                        struct err *err)
{
    uint64_t end;

    if (!u64_add(phdr->p_offset, phdr->p_filesz, &end))
        return malformed(file, "offset of a segment", err);
    if (end > file_size)
        return err_set(err, -ENODATA, "%s %s: is truncated: %llu of %llu bytes; copy it again",
                       file->kind, file->path, (unsigned long long)file_size,
                       (unsigned long long)end);
    return 0;
}

static int segment_add(struct elf *elf, const Elf64_Phdr *phdr, const struct gmem_range *space,
                       struct err *err)
{
    const struct boot_file *file = elf->file;
    uint64_t space_end = space->base.addr + space->size;
    uint64_t end;

    if (phdr->p_filesz > phdr->p_memsz || !u64_add(phdr->p_paddr, phdr->p_memsz, &end))
        return malformed(file, "size of a segment", err);
    if (phdr->p_paddr < space->base.addr || end > space_end)
        return err_set(err, -ENOMEM,
                       "%s %s: has a segment from 0x%llx to 0x%llx, but memory for it is from "
                       "0x%llx to 0x%llx; %s",
                       file->kind, file->path, (unsigned long long)phdr->p_paddr,
                       (unsigned long long)end, (unsigned long long)space->base.addr,
                       (unsigned long long)space_end,
                       phdr->p_paddr < space->base.addr ? "link it higher" : "raise --mem");
    for (size_t i = 0; i < elf->segment_count; i++) {
        const struct elf_segment *other = &elf->segments[i];

        if (phdr->p_paddr < other->addr + other->size && other->addr < end)
            return malformed(file, "segments overlap", err);
    }
    if (elf->segment_count == ELF_SEGMENT_COUNT_MAX)
        return malformed(file, "number of segments", err);
    elf->base = elf->segment_count ? u64_min(elf->base, phdr->p_paddr) : phdr->p_paddr;
    elf->end = u64_max(elf->end, end);
    elf->segments[elf->segment_count++] =
        (struct elf_segment){phdr->p_offset, phdr->p_filesz, phdr->p_paddr, phdr->p_memsz};
    return 0;
}

int elf_parse(struct elf *elf, const struct boot_file *file, uint16_t machine,
              const struct gmem_range *space, struct err *err)
{
    Elf64_Phdr phdrs[PHDR_COUNT_MAX];
    uint64_t file_size, shift = 0;
    Elf64_Ehdr header;
    int ret;

    *elf = (struct elf){.file = file};
    ret = boot_file_size(file, &file_size, err);
    if (ret)
        return ret;
    ret = boot_file_read(file, 0, &header, sizeof(header), err);
    if (ret)
        return ret;
    ret = header_check(file, &header, machine, file_size, err);
    if (ret)
        return ret;
    ret = boot_file_read(file, header.e_phoff, phdrs, header.e_phnum * sizeof(phdrs[0]), err);
    if (ret)
        return ret;

    elf->is_moved = is_position_independent(&header);
    if (elf->is_moved)
        shift = space->base.addr - header.e_entry;

    for (size_t i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr *phdr = &phdrs[i];
        bool is_load = phdr->p_type == PT_LOAD && phdr->p_memsz;

        phdr->p_paddr += shift;
        if (!is_load && phdr->p_type != PT_NOTE)
            continue;
        ret = extent_check(file, phdr, file_size, err);
        if (!ret && is_load)
            ret = segment_add(elf, phdr, space, err);
        if (ret)
            return ret;
        if (!is_load && elf->note_count < ELF_SEGMENT_COUNT_MAX)
            elf->notes[elf->note_count++] =
                (struct elf_notes){phdr->p_offset, phdr->p_filesz, phdr->p_align == 8 ? 8 : 4};
    }
    elf->entry = header.e_entry + shift;
    if (!elf_contains(elf, elf->entry))
        return malformed(file, "entry point outside of its segments", err);
    return 0;
}

bool elf_contains(const struct elf *elf, uint64_t addr)
{
    for (size_t i = 0; i < elf->segment_count; i++)
        if (addr >= elf->segments[i].addr && addr - elf->segments[i].addr < elf->segments[i].size)
            return true;
    return false;
}

int elf_peek(const struct elf *elf, uint64_t addr, void *buffer, size_t len, struct err *err)
{
    for (size_t i = 0; i < elf->segment_count; i++) {
        const struct elf_segment *segment = &elf->segments[i];
        /* Of one above: a huge number, which the next line refuses. */
        uint64_t offset = addr - segment->addr;

        if (offset <= segment->file_size && len <= segment->file_size - offset)
            return boot_file_read(elf->file, segment->offset + offset, buffer, len, err);
    }
    return -ENOENT;
}

/* One note at *pos of a run; moves *pos to the next. -ENOENT when it is another one. */
static int note_read(const struct elf *elf, const struct elf_notes *notes, uint64_t *pos,
                     const char *name, uint32_t type, uint64_t *value, struct err *err)
{
    uint64_t left = notes->size - *pos, offset = notes->offset + *pos;
    char note_name[NOTE_NAME_SIZE_MAX] = "";
    uint64_t desc_pos, end;
    Elf64_Nhdr note;
    int ret;

    if (left < sizeof(note))
        return malformed(elf->file, "notes", err);
    ret = boot_file_read(elf->file, offset, &note, sizeof(note), err);
    if (ret)
        return ret;
    /* 32-bit sizes: no overflow. */
    desc_pos = align_up(sizeof(note) + note.n_namesz, notes->alignment);
    end = desc_pos + note.n_descsz;
    if (end > left)
        return malformed(elf->file, "notes", err);
    *pos += u64_min(align_up(end, notes->alignment), left);

    if (note.n_type != type || note.n_namesz != strlen(name) + 1)
        return -ENOENT;
    CHECK(note.n_namesz <= sizeof(note_name));
    ret = boot_file_read(elf->file, offset + sizeof(note), note_name, note.n_namesz, err);
    if (ret)
        return ret;
    if (memcmp(note_name, name, note.n_namesz) != 0)
        return -ENOENT;
    if (note.n_descsz != 4 && note.n_descsz != 8)
        return malformed(elf->file, "size of a note", err);
    *value = 0;
    return boot_file_read(elf->file, offset + desc_pos, value, note.n_descsz, err);
}

int elf_note_number(const struct elf *elf, const char *name, uint32_t type, uint64_t *value,
                    struct err *err)
{
    unsigned count = 0;

    for (size_t i = 0; i < elf->note_count; i++) {
        for (uint64_t pos = 0; pos < elf->notes[i].size;) {
            int ret = note_read(elf, &elf->notes[i], &pos, name, type, value, err);

            if (ret != -ENOENT)
                return ret;
            if (++count == NOTE_COUNT_MAX)
                return malformed(elf->file, "number of notes", err);
        }
    }
    return -ENOENT;
}

int elf_load(const struct elf *elf, struct gmem *mem, struct err *err)
{
    for (size_t i = 0; i < elf->segment_count; i++) {
        const struct elf_segment *segment = &elf->segments[i];
        uint8_t *host = gmem_ptr(mem, gpa(segment->addr), segment->size);
        int ret;

        CHECK(host != NULL);
        ret = boot_file_load(elf->file, segment->offset, mem, gpa(segment->addr),
                             segment->file_size, err);
        if (ret)
            return ret;
        memset(host + segment->file_size, 0, segment->size - segment->file_size);
    }
    return 0;
}
