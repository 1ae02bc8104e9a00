#include "kvm/x86_64/msr.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
    MSR_TSC = 0x10,
    MSR_MISC_ENABLE = 0x1a0,
    MSR_MTRR_VARIABLE_FIRST = 0x200,
    MSR_MTRR_VARIABLE_LAST = 0x20f,
    MSR_MTRR_DEFAULT_TYPE = 0x2ff,
};

enum { MISC_ENABLE_FAST_STRING = 1, MTRR_ENABLE = 1 << 11, MTRR_TYPE_WRITE_BACK = 6 };

enum { MSR_COUNT_MAX = 1024 };

/* KVM keeps these, but its list leaves them out. */
static const uint32_t unlisted[] = {
    0x250,
    0x258,
    0x259,
    0x268,
    0x269,
    0x26a,
    0x26b,
    0x26c,
    0x26d,
    0x26e,
    0x26f, /* fixed MTRRs */
    MSR_MTRR_DEFAULT_TYPE,
    0x277 /* PAT */,
    MSR_MISC_ENABLE,
};

struct msr_set {
    uint32_t count;
    struct kvm_msr_entry entries[];
};

struct msr_access {
    struct kvm_msrs head;
    struct kvm_msr_entry entry;
};

_Static_assert(sizeof(struct kvm_msrs) == 8 && sizeof(struct kvm_msr_entry) == 16,
               "one entry follows the head");

/* One at a time: KVM stops at the first that it refuses. */
static bool msr_read(int vcpu_fd, uint32_t index, uint64_t *value)
{
    struct msr_access access = {.head.nmsrs = 1, .entry.index = index};

    if (ioctl(vcpu_fd, KVM_GET_MSRS, &access) != 1)
        return false;
    *value = access.entry.data;
    return true;
}

static bool msr_write(int vcpu_fd, uint32_t index, uint64_t value)
{
    struct msr_access access = {.head.nmsrs = 1, .entry = {.index = index, .data = value}};

    return ioctl(vcpu_fd, KVM_SET_MSRS, &access) == 1;
}

static int write_failed(uint32_t index, uint64_t value, struct err *err)
{
    return err_set(err, -EINVAL, "vCPU: this KVM refuses 0x%llx for model-specific register 0x%x",
                   (unsigned long long)value, index);
}

int msr_boot_set(int vcpu_fd, struct err *err)
{
    static const struct {
        uint32_t index, value;
    } boot[] = {
        {MSR_MTRR_DEFAULT_TYPE, MTRR_ENABLE | MTRR_TYPE_WRITE_BACK},
        {MSR_MISC_ENABLE, MISC_ENABLE_FAST_STRING},
    };

    for (size_t i = 0; i < array_count(boot); i++) {
        if (!msr_write(vcpu_fd, boot[i].index, boot[i].value))
            return write_failed(boot[i].index, boot[i].value, err);
    }
    return 0;
}

static void set_add(struct msr_set *set, int vcpu_fd, uint32_t index)
{
    struct kvm_msr_entry *entry = &set->entries[set->count];
    uint64_t value;

    for (uint32_t i = 0; i < set->count; i++) {
        if (set->entries[i].index == index)
            return;
    }
    /* The time stamp counter is restored by its offset. KVM lists some that this processor lacks.
     */
    if (index == MSR_TSC || !msr_read(vcpu_fd, index, &value))
        return;
    *entry = (struct kvm_msr_entry){.index = index, .data = value};
    set->count++;
}

int msr_set_save(struct msr_set **out, int kvm_fd, int vcpu_fd, struct err *err)
{
    const uint32_t variable_count = MSR_MTRR_VARIABLE_LAST - MSR_MTRR_VARIABLE_FIRST + 1;
    const size_t count_max = MSR_COUNT_MAX + array_count(unlisted) + variable_count;
    struct kvm_msr_list *list = calloc(1, sizeof(*list) + MSR_COUNT_MAX * sizeof(list->indices[0]));
    struct msr_set *set = calloc(1, sizeof(*set) + count_max * sizeof(set->entries[0]));
    int ret;

    if (!list || !set) {
        ret = err_set(err, -ENOMEM, "vCPU: out of memory");
        goto fail;
    }
    list->nmsrs = MSR_COUNT_MAX;
    if (ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, list)) {
        ret = err_set(err, -errno, "KVM_GET_MSR_INDEX_LIST: %s", strerror(errno));
        goto fail;
    }
    for (uint32_t i = 0; i < list->nmsrs; i++)
        set_add(set, vcpu_fd, list->indices[i]);
    for (size_t i = 0; i < array_count(unlisted); i++)
        set_add(set, vcpu_fd, unlisted[i]);
    for (uint32_t i = 0; i < variable_count; i++)
        set_add(set, vcpu_fd, MSR_MTRR_VARIABLE_FIRST + i);
    free(list);
    *out = set;
    return 0;
fail:
    free(set);
    free(list);
    return ret;
}

int msr_set_restore(const struct msr_set *set, int vcpu_fd, struct err *err)
{
    for (uint32_t i = 0; i < set->count; i++) {
        const struct kvm_msr_entry *entry = &set->entries[i];
        uint64_t value;

        /* Some cannot be written, and some of those a guest cannot change either. */
        if (msr_read(vcpu_fd, entry->index, &value) && value == entry->data)
            continue;
        if (!msr_write(vcpu_fd, entry->index, entry->data))
            return write_failed(entry->index, entry->data, err);
    }
    return 0;
}

void msr_set_free(struct msr_set *set)
{
    free(set);
}
