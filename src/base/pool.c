#include "base/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/asan.h"
#include "base/check.h"

enum { CACHE_LINE = 64, POISON_BYTE = 0x5a };

/* Lives in the object while it is free. */
struct free_object {
    struct free_object *next;
};

int pool_init(struct pool *pool, size_t object_size, uint32_t capacity)
{
    uint64_t size;

    *pool = (struct pool){.capacity = capacity};
    if (!object_size || object_size > SIZE_MAX / 2 || !capacity)
        return -EINVAL;
    pool->object_size = align_up(object_size, CACHE_LINE);
    if (!u64_mul(pool->object_size, capacity, &size))
        return -EINVAL;
    pool->memory = aligned_alloc(CACHE_LINE, size);
    if (!pool->memory)
        return -ENOMEM;
    ASAN_POISON_MEMORY_REGION(pool->memory, size);
    return 0;
}

void pool_destroy(struct pool *pool)
{
    CHECK_CMP(pool->in_use, ==, 0U);
    ASAN_UNPOISON_MEMORY_REGION(pool->memory, pool->capacity * pool->object_size);
    free(pool->memory);
    *pool = (struct pool){0};
}

void *pool_get(struct pool *pool)
{
    struct free_object *object = pool->free;

    if (object) {
        ASAN_UNPOISON_MEMORY_REGION(object, pool->object_size);
        pool->free = object->next;
    } else if (pool->fresh < pool->capacity) {
        object = (void *)((char *)pool->memory + pool->fresh++ * pool->object_size);
        ASAN_UNPOISON_MEMORY_REGION(object, pool->object_size);
    } else {
        return NULL;
    }
    pool->in_use++;
    return object;
}

void pool_put(struct pool *pool, void *object)
{
    struct free_object *free_object = object;
    size_t offset = (size_t)((char *)object - (char *)pool->memory);

    CHECK_CMP(offset, <, pool->capacity * pool->object_size);
    CHECK_CMP(offset % pool->object_size, ==, 0U);
    CHECK_CMP(pool->in_use, >, 0U);
    pool->in_use--;
    memset(object, POISON_BYTE, pool->object_size);
    free_object->next = pool->free;
    pool->free = free_object;
    ASAN_POISON_MEMORY_REGION(object, pool->object_size);
}
