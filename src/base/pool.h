/*
 * A fixed pool of equal objects: reserved once, at start; get and put are O(1) and never allocate.
 * The last one put is the first one got, and what was never needed stays untouched memory.
 * An object that is not in use is poisoned: ASan catches an access to it, elsewhere it is filled
 * with a pattern. Not for concurrent use from several threads.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct pool {
    void *memory;       /* private */
    void *free;         /* private: list through the objects */
    size_t object_size; /* read-only */
    uint32_t capacity;  /* read-only: objects */
    uint32_t in_use;    /* read-only */
    uint32_t fresh;     /* private: how many were ever handed out */
};

/* Objects of `object_size` bytes, each at a cache line of its own. 0, -ENOMEM, or -EINVAL when
 * there is nothing to allocate or the sizes overflow. */
must_check int pool_init(struct pool *pool, size_t object_size, uint32_t capacity);
/* Every object must be back (asserted). A zeroed pool is allowed. */
void pool_destroy(struct pool *pool);

/* An object with undefined contents, or NULL when all are in use. */
must_check void *pool_get(struct pool *pool);
/* `object` came from pool_get of this pool (asserted as far as it can be seen). */
void pool_put(struct pool *pool, void *object);
