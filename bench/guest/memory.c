#include "memory.h"

#include "guest.h"

enum { PAGE_SIZE = 4096 };

extern uint8_t payload_end[];
static uint64_t next, end;

void *memset(void *to, int value, size_t size)
{
    uint8_t *bytes = to;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)value;
    return to;
}

void *memcpy(void *to, const void *from, size_t size)
{
    uint8_t *bytes = to;
    const uint8_t *source = from;

    for (size_t i = 0; i < size; i++)
        bytes[i] = source[i];
    return to;
}

int memcmp(const void *left, const void *right, size_t size)
{
    const uint8_t *a = left, *b = right;

    for (size_t i = 0; i < size; i++)
        if (a[i] != b[i])
            return a[i] - b[i];
    return 0;
}

void memory_init(uint64_t ram_end)
{
    end = ram_end;
    memory_free_all();
}

void memory_free_all(void)
{
    next = ((uintptr_t)payload_end + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
}

void *memory_alloc(uint64_t size)
{
    void *place = (void *)next;

    size = (size + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
    if (next > end || size > end - next)
        guest_fail("not enough guest memory for this");
    next += size;
    return memset(place, 0, size);
}
